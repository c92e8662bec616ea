"""Targets of a regression, checked, and class labels made into targets."""

from jaxtyping import Float, Integer

from dntk import arrays
from dntk.types import Array


def check_targets(targets: Array, like: Array, *, points: int, outputs: int) -> Float[Array, "n c"]:
    """``targets`` as (n, C) of the dtype of ``like``.

    Raises
    ------
    ValueError
        Another number of rows than points or of columns than outputs, or entries that are not finite.
    TypeError
        Not floating point, or of another namespace.
    """
    xp = arrays.require_same_place(features=like, targets=targets)
    arrays.require_floating("targets", targets)
    if targets.ndim == 1 and outputs == 1:
        targets = targets[:, None]
    if targets.ndim != 2 or targets.shape != (points, outputs):
        msg = (
            f"`targets` has shape {tuple(targets.shape)}, but there are {points} points and {outputs} outputs: "
            f"expected ({points}, {outputs}), for class labels for example from dntk.targets.one_hot(labels)."
        )
        raise ValueError(msg)
    arrays.require_finite("targets", targets)
    return xp.astype(targets, like.dtype, copy=False)


def one_hot(labels: Integer[Array, " n"], n_classes: int, *, like: Array) -> Float[Array, "n c"]:
    """Centred one-hot targets, 1 − 1/C for the label's class and −1/C for the others, of the dtype of ``like``.

    Raises
    ------
    TypeError
        Labels that are not integers.
    ValueError
        Labels outside 0 .. C − 1, or all of one class.
    """
    xp = arrays.require_same_place(labels=labels, like=like)
    arrays.require_points("labels", labels)
    check_labels("labels", labels, points=labels.shape[0])
    if int(xp.min(labels)) < 0 or int(xp.max(labels)) >= n_classes:
        found = f"{int(xp.min(labels))} to {int(xp.max(labels))}"
        msg = f"`labels` run from {found}, but the classes are 0 to {n_classes - 1}."
        raise ValueError(msg)
    if int(xp.min(labels)) == int(xp.max(labels)):
        msg = f"all labels are of one class ({int(labels[0])}): a classifier needs at least two."
        raise ValueError(msg)
    classes = xp.arange(n_classes, dtype=labels.dtype, device=arrays.device_of(labels))
    return xp.astype(labels[:, None] == classes, like.dtype) - 1 / n_classes


def check_labels(name: str, labels: Array, *, points: int) -> None:
    """Raise unless ``labels`` is an integer vector with one entry per point."""
    xp = arrays.namespace(labels)
    if not xp.isdtype(labels.dtype, "integral") or labels.ndim != 1:
        msg = f"`{name}` has dtype {labels.dtype}, shape {tuple(labels.shape)}: expected integer classes, shape (n,)."
        raise TypeError(msg)
    if labels.shape[0] != points:
        msg = f"`{name}` has {labels.shape[0]} entries, but there are {points} points."
        raise ValueError(msg)
