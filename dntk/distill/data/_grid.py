"""A grid of images as a picture."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from dntk._checks import positive_integer
from dntk.archive import expanded, to_host, written_whole
from dntk.types import Array


def write_grid(
    x: Array, path: str | Path, *, columns: int, channels_last: bool = False, shape: tuple[int, ...] | None = None
) -> None:
    """Write images (m, h, w), (m, c, h, w) or (m, h, w, c) side by side, each scaled to its own range.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        ``x`` holds no images of one, three or four channels, or ``columns`` is not positive.
    """
    positive_integer("columns", columns)
    images = images_of(to_host(x), channels_last, shape)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        msg = 'a grid of images needs matplotlib, which is not installed: pip install "dntk[report]"'
        raise ImportError(msg) from error
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(0.8 * columns, 0.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, image in enumerate(images, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
    destination = expanded(path)
    with written_whole(destination) as stream:
        figure.savefig(stream, dpi=100, format=destination.suffix[1:] or "png")


def images_of(x: Any, channels_last: bool, shape: tuple[int, ...] | None) -> Any:
    """Images (m, h, w) or (m, h, w, c), each with values from 0 to 1."""
    given = x.shape
    if shape is not None:
        if math.prod(shape) != math.prod(given[1:]):
            msg = f"`shape`={shape} has {math.prod(shape)} pixels, but an input has {math.prod(given[1:])}."
            raise ValueError(msg)
        x = x.reshape(len(x), *shape)
    if x.ndim == 4:
        x = x if channels_last else np.moveaxis(x, 1, -1)
        x = x[..., 0] if x.shape[-1] == 1 else x
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (3, 4)):
        msg = (
            f"inputs of shape {given} are no images: expected (m, h, w), (m, c, h, w), or (m, h, w, c) with "
            "channels_last=True, of 1, 3 or 4 channels; for vectors pass the shape of one image, shape=(8, 8)."
        )
        raise ValueError(msg)
    low, high = (f(x, axis=tuple(range(1, x.ndim)), keepdims=True) for f in (np.min, np.max))
    return (x - low) / np.where(high > low, high - low, 1)
