"""The handwritten digits that ship with scikit-learn."""

import dataclasses

import numpy as np

from dntk._checks import check_seed
from dntk.random import uniforms
from dntk_studies.datasets.base import Dataset, Split


def digits(*, train: int = 1000, validation: int = 300, seed: int = 0) -> Dataset:
    """scikit-learn's handwritten digits: 1,797 images of 8 × 8 pixels, ten classes, shipped in its wheel.

    Parameters
    ----------
    train, validation
        Numbers of points; what is left is the test part.
    seed
        Of the permutation before splitting.

    Raises
    ------
    ValueError
        No test point would be left.
    """
    from sklearn.datasets import load_digits

    check_seed(seed)
    x, y = load_digits(return_X_y=True)
    if train < 1 or validation < 0 or train + validation >= len(x):
        msg = f"train={train} and validation={validation} leave no test point of {len(x)}: ask for fewer."
        raise ValueError(msg)
    order = np.argsort(uniforms(seed=seed, stream="digits", count=len(x)), kind="stable")
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int64)
    edges = (train, train + validation)
    parts = [Split(x=a, y=b) for a, b in zip(np.split(x, edges), np.split(y, edges), strict=True)]
    return Dataset(name="digits", train=parts[0], validation=parts[1], test=parts[2], classes=tuple("0123456789"))


def shifted_digits(*, train: int = 1297, seed: int = 0) -> Dataset:
    """The digits, each training image together with its eight shifts by one pixel; test images are not shifted.

    Nine times ``train`` training points, the images as they are first, then one shift of all of them after the other.
    What is shifted out is lost, what comes in is empty. There is no validation part.

    Raises
    ------
    ValueError
        No test point would be left.
    """
    data = digits(train=train, validation=0, seed=seed)
    images = np.reshape(np.asarray(data.train.x), (-1, 8, 8))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    steps = [(down, right) for down in (0, -1, 1) for right in (0, -1, 1)]
    shifts = [padded[:, 1 - down : 9 - down, 1 - right : 9 - right].reshape(-1, 64) for down, right in steps]
    split = Split(x=np.concatenate(shifts), y=np.concatenate([data.train.y] * len(steps)))
    return dataclasses.replace(data, name="shifted digits", train=split)
