"""Class labels made into targets of a regression."""

from jaxtyping import Float, Integer

from dntk import arrays
from dntk._checks import positive_integer
from dntk._target_checks import check_classes, check_labels
from dntk.types import Array

__all__ = ["one_hot"]


def one_hot(labels: Integer[Array, " n"], n_classes: int, *, like: Array) -> Float[Array, "n c"]:
    """Centred one-hot targets, 1 − 1/C for the label's class and −1/C for the others, of the dtype of ``like``.

    Raises
    ------
    TypeError
        Labels that are not integers.
    ValueError
        Labels outside 0 .. C − 1, or all of one class.

    Examples
    --------
    >>> dntk.targets.one_hot(np.array([0, 1, 1]), 2, like=np.zeros(1)).tolist()
    [[0.5, -0.5], [-0.5, 0.5], [-0.5, 0.5]]
    """
    xp = arrays.require_same_place(labels=labels, like=like)
    arrays.require_points("labels", labels)
    check_labels("labels", labels, points=labels.shape[0])
    n_classes = positive_integer("n_classes", n_classes)
    check_classes("labels", labels, classes=n_classes)
    if int(xp.min(labels)) == int(xp.max(labels)):
        msg = f"all labels are of one class ({int(labels[0])}): a classifier needs at least two."
        raise ValueError(msg)
    classes = xp.arange(n_classes, dtype=labels.dtype, device=arrays.device_of(labels))
    return xp.astype(labels[:, None] == classes, like.dtype) - 1 / n_classes
