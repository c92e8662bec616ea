"""Checks of targets and labels, with the messages that say how to mend them."""

from jaxtyping import Float

from dntk import arrays
from dntk._checks import kind_of
from dntk._foreign import require_plain_array
from dntk.types import Array


def check_targets(
    targets: Array, like: Array, *, points: int, outputs: int, name: str = "targets"
) -> Float[Array, "n c"]:
    """``targets`` as (n, C) of the dtype of ``like``.

    Raises
    ------
    ValueError
        Another number of rows than points or of columns than outputs, or entries that are not finite.
    TypeError
        Not floating point, or of another namespace.
    """
    xp = arrays.require_same_place(**{"features": like, name: targets})
    if targets.ndim == 1 and xp.isdtype(targets.dtype, "integral"):
        msg = (
            f"`{name}` has dtype {targets.dtype}, shape {tuple(targets.shape)}, as class labels have: pass one column "
            f"per class, dntk.targets.one_hot({name}, {outputs}, like=...)."
        )
        raise TypeError(msg)
    arrays.require_floating(name, targets)
    if targets.ndim == 1 and outputs == 1:
        targets = targets[:, None]
    if targets.ndim != 2 or targets.shape != (points, outputs):
        msg = (
            f"`{name}` has shape {tuple(targets.shape)}, but there are {points} points and {outputs} outputs: "
            f"expected ({points}, {outputs}), for class labels for example from "
            f"dntk.targets.one_hot(labels, {outputs}, like=...)."
        )
        raise ValueError(msg)
    arrays.require_finite(name, targets)
    return xp.astype(targets, like.dtype, copy=False)


def check_labels(name: str, labels: Array, *, points: int) -> None:
    """Raise unless ``labels`` is an integer vector with one entry per point."""
    if isinstance(labels, list | tuple | range):
        msg = f"`{name}` is {kind_of(labels)}: convert it to one array of integers first, numpy.asarray({name})."
        raise TypeError(msg)
    require_plain_array(name, labels)
    xp = arrays.namespace(labels)
    if not xp.isdtype(labels.dtype, "integral") or labels.ndim != 1:
        rows = f", of rows of scores xp.argmax({name}, axis=1)" if labels.ndim == 2 else ""
        found = f"`{name}` has dtype {labels.dtype}, shape {tuple(labels.shape)}"
        msg = f"{found}: expected integer classes, shape (n,){rows}."
        raise TypeError(msg)
    if labels.shape[0] != points:
        msg = f"`{name}` has {labels.shape[0]} entries, but there are {points} points: pass one label per point."
        raise ValueError(msg)


def check_classes(name: str, labels: Array, *, classes: int) -> None:
    """Raise ``ValueError`` unless checked ``labels`` are among 0 .. C − 1; synchronises with the device."""
    xp = arrays.namespace(labels)
    if not labels.shape[0]:
        return
    least, largest = int(xp.min(labels)), int(xp.max(labels))
    if least < 0 or largest >= classes:
        remedy = "subtract 1" if least == 1 and largest == classes else "pass one of them for each point"
        msg = f"`{name}` has labels from {least} to {largest}, but the classes are 0 to {classes - 1}: {remedy}."
        raise ValueError(msg)
