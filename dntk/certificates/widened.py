"""Features in units of their largest entry and in float64, without a second copy of all of them.

Features that are small are widened once. Of others one output is widened at a time, at every product: a pass more over
memory, where products read the features twice. Where the features are float64 no copy is made at all.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.features import StoredFeatures, TangentFeatures
from dntk.features.passes import added, folded, of_points
from dntk.ledger import count
from dntk.types import Array

SMALL = 2**28
"""Bytes of features in float64 up to which all are widened at once: 256 MiB."""

_PASS = "pass over features"

Middle = Callable[[Array, Any], Array]
"""What is done with coordinates (..., q, k) of all outputs, or of the output that is the second argument."""


@dataclasses.dataclass(frozen=True, eq=False)
class Widened:
    """Ψ/s (C, n, k) in float64 where the device has it; products with it from both sides.

    Parameters
    ----------
    values
        Ψ as it is stored, or in float64.
    scale
        s, by which results are divided, so that squares of kernels stay in range.
    """

    values: Float[Array, "c n k"]
    scale: float

    @staticmethod
    def of(values: Float[Array, "c n k"], scale: float | None = None) -> "Widened":
        """Features in units of ``scale``; default: their largest entry, or one where all are zero."""
        xp = arrays.namespace(values)
        if scale is None:
            scale = max(float(xp.max(xp.abs(values[c, :, :]))) for c in range(values.shape[0])) or 1.0
        small = 8 * math.prod(values.shape) <= SMALL
        return Widened(arrays.in_float64(values) if small else values, scale)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, n, k)."""
        c, n, k = self.values.shape
        return c, n, k

    @functools.cached_property
    def like(self) -> Float[Array, "1 1"]:
        """An array of the type and on the device of all products."""
        return arrays.in_float64(self.values[0, :1, :1])

    @functools.cached_property
    def squares(self) -> Float[Array, " c"]:
        """‖Ψ^c/s‖_F² of every output."""
        xp = arrays.namespace(self.values)
        return xp.stack([xp.sum((part / self.scale) ** 2) for part in self._parts()])

    def onto(self, rows: Float[Array, "*c q n"]) -> Float[Array, "c q k"]:
        """R^cΨ^c/s; rows may be the same for all outputs."""
        self._count(rows)
        return self._stacked(lambda part, c: _of(rows, c) @ part) / self.scale

    def back(self, coordinates: Float[Array, "c q k"]) -> Float[Array, "c q n"]:
        """Z^cΨ^cᵀ/s."""
        self._count(coordinates)
        return self._stacked(lambda part, c: _of(coordinates, c) @ part.mT) / self.scale

    def through(self, rows: Float[Array, "*c q n"], middle: Middle = lambda inner, _: inner) -> Float[Array, "c q n"]:
        """M(R^cΨ^c/s)Ψ^cᵀ/s: every output is read once, in float64."""
        # Few rows on the left: BLAS takes twice as long where the transposed factor is the wide one.
        product = self._stacked(lambda part, c: middle(_of(rows, c) @ part / self.scale, c) @ part.mT)
        return product / self.scale

    def parts(self) -> Iterator[Float[Array, "n k"]]:
        """Ψ^c/s of one output after the other."""
        return (part / self.scale for part in self._parts())

    def _count(self, rows: Array) -> None:
        c, n, k = self.shape
        count(flops=2 * c * n * k * rows.shape[-2])

    def _stacked(self, product: Callable[[Array, Any], Array]) -> Array:
        if self.values.dtype == self.like.dtype:
            return product(self.values, None)
        return arrays.namespace(self.values).stack([product(part, c) for c, part in enumerate(self._parts())])

    def _parts(self) -> Iterator[Float[Array, "n k"]]:
        return (arrays.in_float64(self.values[c, :, :]) for c in range(self.values.shape[0]))


@dataclasses.dataclass(frozen=True, eq=False)
class StoredWidened(Widened):
    """The same of features on the disk, ``values`` one point of them: products are passes over the chunks."""

    phi: StoredFeatures

    @staticmethod
    def over(phi: StoredFeatures) -> "StoredWidened":
        """Features in units of their largest entry: one pass."""
        xp = arrays.namespace(phi.sample.values)
        scale = folded(phi, lambda part: float(xp.max(xp.abs(part.values))), max, name="largest feature") or 1.0
        return StoredWidened(phi.sample.values, scale, phi)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, n, k)."""
        return self.phi.n_outputs, len(self.phi), self.phi.dim

    @functools.cached_property
    def squares(self) -> Float[Array, " c"]:
        """‖Ψ^c/s‖_F² of every output."""
        return self._folded(_squares, added)

    def onto(self, rows: Float[Array, "*c q n"]) -> Float[Array, "c q k"]:
        """R^cΨ^c/s."""
        # Points of an array that goes along with the features are on its last axis but one.
        return self._folded(_onto, added, along=(rows.mT,))

    def back(self, coordinates: Float[Array, "c q k"]) -> Float[Array, "c q n"]:
        """Z^cΨ^cᵀ/s."""
        return of_points(self.phi, _OfChunk(functools.partial(_back, coordinates), self.scale), name=_PASS, axis=-1)

    def through(self, rows: Float[Array, "*c q n"], middle: Middle = lambda inner, _: inner) -> Float[Array, "c q n"]:
        """M(R^cΨ^c/s)Ψ^cᵀ/s: two passes."""
        return self.back(middle(self.onto(rows), None))

    def _folded(self, of: Callable[..., Array], merge: Callable[[Array, Array], Array], along: Any = ()) -> Array:
        return folded(self.phi, _OfChunk(of, self.scale), merge, name=_PASS, along=along)


@dataclasses.dataclass(frozen=True)
class _OfChunk:
    """What ``of`` makes of the scaled features of a chunk."""

    of: Callable[..., Array]
    scale: float

    def __call__(self, part: TangentFeatures, *rows: Array) -> Array:
        return self.of(Widened.of(part.values, self.scale), *rows)


def _squares(part: Widened) -> Float[Array, " c"]:
    return part.squares


def _onto(part: Widened, rows: Float[Array, "*c n q"]) -> Float[Array, "c q k"]:
    return part.onto(rows.mT)


def _back(coordinates: Float[Array, "c q k"], part: Widened) -> Float[Array, "c q n"]:
    return part.back(coordinates)


def widened(phi: TangentFeatures) -> Widened:
    """Features in units of their largest entry, in memory or on the disk."""
    return StoredWidened.over(phi) if isinstance(phi, StoredFeatures) else Widened.of(phi.values)


def _of(stack: Array, output: int | None) -> Array:
    """The matrix of one output; what is one matrix for all, or asked for all, as it is."""
    return stack if output is None or stack.ndim == 2 else stack[output, :, :]
