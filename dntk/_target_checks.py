"""Checks of targets and labels, with the messages that say how to mend them."""

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array


def check_targets(targets: Array, like: Array, *, points: int, outputs: int) -> Float[Array, "n c"]:
    """``targets`` as (n, C) of the dtype of ``like``.

    Raises
    ------
    ValueError
        Another number of rows than points or of columns than outputs, or entries that are not finite, or whose squares
        leave the range of numbers.
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
    largest = arrays.largest_magnitude(targets)
    squared = xp.zeros((), dtype=arrays.accumulation_dtype(targets), device=arrays.device_of(targets))
    arrays.require_products("targets", squared, largest=largest, terms=points * outputs)
    arrays.require_digits("targets", squared, largest=largest)
    return xp.astype(targets, like.dtype, copy=False)


def check_labels(name: str, labels: Array, *, points: int) -> None:
    """Raise unless ``labels`` is an integer vector with one entry per point."""
    xp = arrays.namespace(labels)
    if not xp.isdtype(labels.dtype, "integral") or labels.ndim != 1:
        msg = f"`{name}` has dtype {labels.dtype}, shape {tuple(labels.shape)}: expected integer classes, shape (n,)."
        raise TypeError(msg)
    if labels.shape[0] != points:
        msg = f"`{name}` has {labels.shape[0]} entries, but there are {points} points."
        raise ValueError(msg)
