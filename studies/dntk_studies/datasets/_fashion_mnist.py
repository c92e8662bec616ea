"""Fashion-MNIST: images of clothes."""

import gzip
import math
import os
import pathlib
from typing import Any

import numpy as np

from dntk_studies.datasets.base import Dataset, dataset_of_pixels, training_order
from dntk_studies.datasets.files import DataFile, fetch, found, places

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DEBIAN = "/usr/share/datasets/fashion-mnist"
_SOURCE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
# The official file first; Debian's package holds the same data without the name in the header of gzip.
_DIGESTS = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    ),
}
FILES = tuple(DataFile(name=name, sha256=digests, url=_SOURCE + name) for name, digests in _DIGESTS.items())
REMEDY = (
    "Install Debian's package dataset-fashion-mnist, or put the four files of "
    "https://github.com/zalandoresearch/fashion-mnist (data/fashion) into that directory; the environment variable "
    "DNTK_DATA names another."
)


def fashion_mnist(
    *,
    train: int | None = None,
    validation: int = 5000,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 1 × 28 × 28 pixels, ten classes.

    Parameters
    ----------
    train, validation
        Numbers of points, drawn from the 60,000; ``train=None`` takes all that validation leaves.
    seed
        Of that draw.
    directory
        Where the four files of the set are, or shall be. Default: Debian's directory, ``$DNTK_DATA`` and
        ``$DNTK_DATA/fashion-mnist`` (``~/.cache/dntk`` where the variable is not set).

    Returns
    -------
    Dataset
        Images (n, 1, 28, 28) in [0, 1].

    Raises
    ------
    FileNotFoundError
        The files are not there and cannot be fetched.
    ValueError
        A file has another SHA-256 digest than the official one or Debian's, or more points are asked than there are.

    Notes
    -----
    Xiao, Rasul and Vollgraf, arXiv 1708.07747; MIT licence.
    """
    where = places(directory, "fashion-mnist", (DEBIAN,))
    arrays = [_read(file, where) for file in FILES]
    training, test = ((x[:, None, :, :], y.astype(np.int64)) for x, y in (arrays[:2], arrays[2:]))
    chosen = training_order(len(training[1]), train=train, validation=validation, seed=seed, stream="fashion-mnist")
    return dataset_of_pixels("fashion-mnist", training, test, chosen=chosen, classes=CLASSES)


def _read(file: DataFile, where: tuple[pathlib.Path, ...]) -> Any:
    path = found(file, where) or fetch(file, where[-1], remedy=REMEDY)
    with gzip.open(path) as stream:
        return read_idx(stream.read(), name=str(path))


def read_idx(content: bytes, *, name: str) -> Any:
    """Array of unsigned bytes in the IDX format: two zeros, type 8, the number of axes, the sizes, the entries.

    Raises
    ------
    ValueError
        ``content`` is not of that format, or is shorter or longer than it says.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        msg = f"{name} does not begin like an IDX file of unsigned bytes: it begins with {content[:4]!r}."
        raise ValueError(msg)
    head = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, head, 4))
    if len(content) != head + math.prod(shape):
        msg = f"{name} has {len(content)} bytes, but its header says shape {shape}: {head + math.prod(shape)} bytes."
        raise ValueError(msg)
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
