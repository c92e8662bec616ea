"""What a data set is, and how its training points are split."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from dntk._checks import check_seed, is_integer
from dntk.random import uniforms
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs scaled to [0, 1] in float32 and integer labels of one part of a data set.

    Images are (n, channels, height, width), but for the digits, which are flat.
    """

    x: Float[Array, " n *shape"]
    y: Int[Array, " n"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Training, validation and test parts that share no point; ``classes`` are the names of the labels 0, 1, …."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] = ()


def training_order(
    points: int, *, train: int | None, validation: int, seed: int, stream: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of the training and of the validation points among those that a set has for training.

    The validation points come first in the permutation, so that they stay the same when ``train`` changes.

    Raises
    ------
    ValueError
        Fewer than one training point, or more points than there are.
    """
    check_seed(seed)
    for name, count in (("train", train), ("validation", validation)):
        if count is not None and not is_integer(count):
            msg = f"`{name}` must be a number of points, got {count!r}."
            raise ValueError(msg)
    wanted = points - validation if train is None else train
    if wanted < 1 or validation < 0 or wanted + validation > points:
        msg = f"train={train} and validation={validation} are asked of {points} points: ask for at least 1 and fewer."
        raise ValueError(msg)
    order = np.argsort(uniforms(seed=seed, stream=stream, count=points), kind="stable")
    return order[validation : validation + wanted], order[:validation]


def scaled_images(pixels: npt.NDArray[np.uint8]) -> Any:
    """Pixels 0 to 255 as float32 in [0, 1], contiguous."""
    return np.ascontiguousarray(pixels).astype(np.float32) / np.float32(255)


def dataset_of_pixels(
    name: str,
    training: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
    test: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
    *,
    chosen: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    classes: tuple[str, ...],
) -> Dataset:
    """Data set of decoded pixels, with the ``chosen`` training and validation points."""
    x, y = training
    train, validation = (Split(x=scaled_images(x[part]), y=y[part]) for part in chosen)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=Split(x=scaled_images(test[0]), y=test[1]),
        classes=classes,
    )
