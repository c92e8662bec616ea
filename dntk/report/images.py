"""Pictures in a page: inputs that are images, side by side, as PNG inside an address."""

import base64
import math
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk.archive import to_host
from dntk.distill.data._grid import images_of
from dntk.types import Array

_CHANNELS = (1, 3, 4)
_COLOR = {1: 0, 3: 2, 4: 6}
"""Number of channels, and PNG's number of that kind of colour."""


def are_images(x: Any, shape: tuple[int, ...] | None) -> bool:
    """Whether inputs can be shown: an array (m, c, h, w) or (m, h, w, c) of 1, 3 or 4 channels, or one with a shape."""
    if not hasattr(x, "shape"):
        return False
    if shape is not None:
        return True
    return len(x.shape) == 4 and (x.shape[1] in _CHANNELS or x.shape[3] in _CHANNELS)


def pixels_of(x: Array, shape: tuple[int, ...] | None) -> npt.NDArray[np.uint8]:
    """Pixels (m, h, w, c) of inputs, each image scaled to its own range.

    Raises
    ------
    ValueError
        Inputs that are no images of 1, 3 or 4 channels; a shape of another number of pixels.
    """
    host = to_host(x)
    full = (len(host), *shape) if shape is not None else host.shape
    last = len(full) == 4 and full[1] not in _CHANNELS and full[3] in _CHANNELS
    found = np.asarray(images_of(host, last, shape), dtype=np.float64)
    found = found[..., None] if found.ndim == 3 else found
    return np.round(255 * found).astype(np.uint8)


def grid(pixels: npt.NDArray[np.uint8], columns: int = 20) -> npt.NDArray[np.uint8]:
    """Images (m, h, w, c) side by side, one pixel apart, as one (H, W, c); what is between them is mid-grey."""
    m, h, w, c = pixels.shape
    columns = min(columns, m)
    rows = math.ceil(m / columns)
    sheet = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, c), 128, dtype=np.uint8)
    for place, image in enumerate(pixels):
        top, left = (place // columns) * (h + 1), (place % columns) * (w + 1)
        sheet[top : top + h, left : left + w, :] = image
    return sheet


def as_address(image: npt.NDArray[np.uint8]) -> str:
    """An image (h, w, c) as the address of a PNG that is in it."""
    return "data:image/png;base64," + base64.b64encode(as_png(image)).decode("ascii")


def as_png(image: npt.NDArray[np.uint8]) -> bytes:
    """An image (h, w, c) of 8 bits as a PNG file: unfiltered rows, deflated (ISO/IEC 15948)."""
    height, width, channels = image.shape
    lines = b"".join(b"\0" + row.tobytes() for row in image)
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOR[channels], 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
