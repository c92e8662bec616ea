"""Inputs that carry their labels."""

import dataclasses
from typing import Any, cast

from dntk import arrays
from dntk.types import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Inputs and their labels or targets, cut into batches together; made by :func:`labelled`."""

    x: Array
    y: Array

    def __post_init__(self) -> None:
        xp = arrays.require_same_place(x=self.x, y=self.y)
        arrays.require_points("x", self.x)
        arrays.require_points("y", self.y)
        if self.y.shape[0] != self.x.shape[0]:
            msg = f"`y` has {self.y.shape[0]} entries, but `x` has {self.x.shape[0]} inputs: pass one for each."
            raise ValueError(msg)
        if not xp.isdtype(self.y.dtype, ("integral", "real floating")):
            msg = f"`y` has dtype {self.y.dtype}: expected integer classes, or floating-point targets."
            raise TypeError(msg)
        arrays.require_finite("y", self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the inputs."""
        return tuple(self.x.shape)

    @property
    def ndim(self) -> int:
        """Number of axes of the inputs."""
        return self.x.ndim

    @property
    def dtype(self) -> Any:
        """Type of the inputs."""
        return self.x.dtype

    def __len__(self) -> int:
        """Number n of inputs."""
        return self.x.shape[0]

    def __getitem__(self, key: Any) -> "Labelled":
        """Some of the inputs with their labels: a slice, alone or followed by what selects among other axes."""
        points = key[0] if isinstance(key, tuple) and key else key
        if not isinstance(points, slice):
            msg = f"inputs with labels are cut by slices, x[start:stop], got {key!r}: for positions use take(indices)."
            raise TypeError(msg)
        return Labelled(self.x[key], self.y[points, ...])

    def take(self, indices: Array) -> "Labelled":
        """The inputs at some positions, with their labels."""
        xp = arrays.namespace(self.x)
        return Labelled(xp.take(self.x, indices, axis=0), xp.take(self.y, indices, axis=0))


def labelled(x: Array, y: Array) -> Array:
    """Inputs with labels, to pass as ``x`` where a model of :mod:`dntk.outputs` needs labels.

    Labels belong to inputs, not to the model: the same margin is evaluated on training points, on test points and
    on both sides of a kernel, and batches must not part the two.

    Parameters
    ----------
    x
        Inputs of the network, (n, ...).
    y
        Integer classes (n,), or floating-point targets (n, C) for the squared error, (n,) for one output.

    Raises
    ------
    TypeError
        Arrays of different libraries; ``y`` neither integer nor floating point.
    ValueError
        Different lengths or devices; an empty array; targets that are not finite.
    """
    return cast(Array, Labelled(x, y))


def split(x: Array | Labelled) -> tuple[Array, Array | None]:
    """Inputs and labels, ``None`` where there are none."""
    return (x.x, x.y) if isinstance(x, Labelled) else (x, None)


def take_points(x: Array, indices: Array) -> Array:
    """Inputs at some positions, with their labels where they have any."""
    if isinstance(x, Labelled):
        return cast(Array, x.take(indices))
    return arrays.namespace(x).take(x, indices, axis=0)
