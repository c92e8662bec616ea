"""Pictures in folders by class, such as ImageNette and ImageWoof."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk._checks import positive_integer
from dntk_studies.datasets._pictures import pillow
from dntk_studies.datasets.base import Dataset, Split, scaled_images, training_order

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


def image_folder(
    path: str | os.PathLike[str],
    *,
    size: int,
    train: int | None = None,
    validation: int = 0,
    seed: int = 0,
) -> Dataset:
    """Pictures of a folder ``train/CLASS/…`` and ``val/CLASS/…``: ImageNette, ImageWoof, or your own.

    Each is scaled so that its shorter side has ``size`` pixels, with antialiasing, and cut to the square in its middle.
    Classes are numbered in the order of their folders' names.

    Parameters
    ----------
    path
        The folder, for example ``imagenette2-160`` of https://github.com/fastai/imagenette, unpacked. The test part may
        be called ``val`` or ``test``.
    size
        Height and width of what is returned.
    train, validation
        Numbers of points, drawn from the training folder before any picture is read; ``train=None`` takes all that
        validation leaves.
    seed
        Of that draw.

    Returns
    -------
    Dataset
        Images (n, 3, size, size) in [0, 1]; its name is the folder's.

    Raises
    ------
    FileNotFoundError
        The folder, one of its parts, or every picture of a part is missing.
    ValueError
        A class of the test part is none of the training part, a picture cannot be read, ``size`` is not a positive
        integer, or more points are asked than there are.
    ImportError
        Pillow is not installed.

    Notes
    -----
    Memory: 12 · size² bytes per picture.
    """
    positive_integer("size", size, remedy="the pixels of a side")
    root = pathlib.Path(path).expanduser()
    training, held_out = _part(root, ("train",)), _part(root, ("val", "test"))
    classes = _classes(training)
    files, labels = _listed(training, classes)
    test_files, test_labels = _listed(held_out, classes)
    parts = training_order(len(files), train=train, validation=validation, seed=seed, stream="image-folder")
    chosen = [
        Split(x=scaled_images(_read([files[i] for i in part], size)), y=np.asarray(labels)[part]) for part in parts
    ]
    test = Split(x=scaled_images(_read(test_files, size)), y=np.asarray(test_labels))
    name = root.resolve().name
    return Dataset(name=name, train=chosen[0], validation=chosen[1], test=test, classes=classes)


def _part(root: pathlib.Path, names: Sequence[str]) -> pathlib.Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    msg = (
        f"{root} has no folder {' or '.join(names)}: expected train/CLASS/picture and val/CLASS/picture, as in "
        "ImageNette and ImageWoof (https://github.com/fastai/imagenette), unpacked."
    )
    raise FileNotFoundError(msg)


def _classes(part: pathlib.Path) -> tuple[str, ...]:
    return tuple(sorted(folder.name for folder in part.iterdir() if folder.is_dir()))


def _listed(part: pathlib.Path, classes: tuple[str, ...]) -> tuple[list[pathlib.Path], list[int]]:
    """Pictures and labels of a part, in the order of their names."""
    foreign = set(_classes(part)) - set(classes)
    if foreign:
        msg = f"{part} has the classes {', '.join(sorted(foreign))}, which the training folder has not."
        raise ValueError(msg)
    pairs = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((part / name).glob("*"))
        if file.suffix.lower() in _SUFFIXES
    ]
    if not pairs:
        msg = f"{part} has no pictures in folders by class ({', '.join(sorted(_SUFFIXES))})."
        raise FileNotFoundError(msg)
    return [file for file, _ in pairs], [label for _, label in pairs]


def _read(files: Sequence[pathlib.Path], size: int) -> npt.NDArray[np.uint8]:
    pixels = np.empty((len(files), 3, size, size), dtype=np.uint8)
    for i, file in enumerate(files):
        pixels[i] = _square(file, size)
    return pixels


def _square(file: pathlib.Path, size: int) -> Any:
    images = pillow()
    try:
        with images.open(file) as opened:
            image = opened.convert("RGB")
    except OSError as error:
        msg = f"the picture {file} cannot be read ({error}): repair or delete it."
        raise ValueError(msg) from error
    scale = size / min(image.size)
    width, height = (max(size, round(scale * side)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), images.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size))).transpose(2, 0, 1)
