"""Inputs that carry their labels."""

import dataclasses
from typing import Any

from jaxtyping import Int

from dntk import arrays
from dntk._foreign import require_one_split, require_plain_array
from dntk.models import batches
from dntk.models.nests import is_array
from dntk.types import Array, Batch, Inputs


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Inputs and their labels or targets, a nest that is cut into batches as one; made by :func:`labelled`."""

    x: Inputs
    y: Array

    def __len__(self) -> int:
        """Number n of inputs."""
        return batches.count(self.x)

    def take(self, indices: Int[Array, " m"]) -> "Labelled":
        """The inputs at some positions, with their labels."""
        taken: Labelled = batches.take(self, indices)
        return taken


def labelled(x: Inputs, y: Array) -> Labelled:
    """Inputs with labels, to pass as ``x`` where a model of :mod:`dntk.outputs` needs labels.

    Labels belong to inputs, not to the model: the same margin is evaluated on training points, on test points and
    on both sides of a kernel, and batches must not part the two.

    Parameters
    ----------
    x
        Inputs of the network, (n, ...), a nest of them, or a source of points.
    y
        Integer classes (n,), or floating-point targets (n, C) for the squared error, (n,) for one output.

    Raises
    ------
    TypeError
        Arrays of different libraries; ``y`` neither integer nor floating point.
    ValueError
        Different lengths or devices; an empty array; targets that are not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(4, 3)), np.array([0, 1, 1, 0])
    >>> points = dntk.outputs.labelled(x, y)
    >>> len(points), points.take(np.array([1, 2])).y.tolist()
    (4, [1, 1])
    """
    if is_array(x):
        arrays.require_same_place(x=x, y=y)
        arrays.require_points("x", x)
    require_one_split("x", x)
    inputs = batches.opened(x)
    batches.require_parts("x", inputs)
    require_plain_array("y", y)
    arrays.require_points("y", y)
    if y.shape[0] != batches.count(inputs):
        msg = f"`y` has {y.shape[0]} entries, but `x` has {batches.count(inputs)} inputs: pass one for each."
        raise ValueError(msg)
    if not arrays.namespace(y).isdtype(y.dtype, ("integral", "real floating")):
        msg = f"`y` has dtype {y.dtype}: expected integer classes, or floating-point targets."
        raise TypeError(msg)
    arrays.require_finite("y", y)
    return Labelled(inputs, y)


def split(x: Batch) -> tuple[Any, Array | None]:
    """Inputs and labels, ``None`` where there are none."""
    return (x.x, x.y) if isinstance(x, Labelled) else (x, None)
