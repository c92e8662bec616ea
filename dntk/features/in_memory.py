"""Tangent features in memory."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import kind_of, positive_integer, require_kind
from dntk._foreign import require_plain_array
from dntk._progress import task
from dntk.backend import backend_of, entries, root_modules
from dntk.features.neighbours import Found, Neighbours, Search
from dntk.ledger import count
from dntk.models.base import Model
from dntk.outputs import KernelOutputs
from dntk.outputs.functionals import check_output_index
from dntk.types import Array

_COPIED = 2**24
"""Entries of features that are copied at once."""


@dataclasses.dataclass(frozen=True)
class TangentFeatures:
    """Features Ψ^c (n, k) of n points for C outputs; every algorithm of dntk takes it.

    Parameters
    ----------
    values
        Array (C, n, k), floating point, finite. A plain feature matrix (n, k) is taken as one output. 16-bit numbers
        become float32, as those of 16-bit networks are.
    sketch
        The bound sketch that made them, if any.

    Raises
    ------
    TypeError
        ``values`` is not a floating-point array.
    ValueError
        It is empty, has another number of axes, or entries that are not finite, or so large that the trace of the
        kernel may overflow.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = dntk.TangentFeatures(rng.normal(size=(2, 40, 8)))  # features of your own
    >>> len(phi), phi.n_outputs, phi.dim
    (40, 2, 8)
    >>> phi.kernel().shape, phi.kernel(phi[:5], outputs="each").shape
    ((40, 40), (2, 40, 5))
    >>> dntk.TangentFeatures(np.ones((40, 8))).values.shape  # one output
    (1, 40, 8)
    """

    values: Float[Array, "c n k"] | Float[Array, "n k"]
    sketch: Any = None

    def __post_init__(self) -> None:
        require_plain_array("values", self.values)
        xp = arrays.namespace(self.values)
        arrays.require_floating("values", self.values)
        object.__setattr__(self, "values", arrays.widened(self.values))
        if self.values.ndim == 2:
            object.__setattr__(self, "values", self.values[None, :, :])
        if self.values.ndim != 3 or 0 in self.values.shape:
            msg = f"`values` has shape {tuple(self.values.shape)}: expected (outputs, points, features), none 0."
            raise ValueError(msg)
        largest = arrays.largest_magnitude(self.values)
        if not math.isfinite(largest):
            arrays.require_finite("values", xp.permute_dims(self.values, (1, 0, 2)))
        arrays.require_products("values", self.values, largest=largest, terms=math.prod(self.values.shape))

    def __len__(self) -> int:
        """Number n of points."""
        return self.values.shape[1]

    def __getitem__(self, points: Any) -> "TangentFeatures":
        """Features of some points: a slice, an index, an array of indices, or a mask."""
        xp = arrays.namespace(self.values)
        if isinstance(points, slice):
            return dataclasses.replace(self, values=self.values[:, points, :])
        return dataclasses.replace(self, values=xp.take(self.values, self.positions(points), axis=1))

    def positions(self, points: Any) -> Array:
        """Indices on the device of the features, from an index, indices or a mask, checked to exist."""
        xp, device, n = arrays.namespace(self.values), arrays.device_of(self.values), len(self)
        if isinstance(points, int | list | tuple | np.generic | np.ndarray):
            host = _indices_on_host(points)
            points = backend_of(self.values).from_numpy(host, device=device)
        arrays.require_same_place(features=self.values, points=points)
        points = xp.reshape(points, (1,)) if points.ndim == 0 else points
        if xp.isdtype(points.dtype, "bool"):
            if points.shape != (n,):
                msg = f"`points` is a mask of shape {tuple(points.shape)}, but there are {n} points: expected ({n},)."
                raise ValueError(msg)
            points = xp.nonzero(points)[0]
        if not xp.isdtype(points.dtype, "integral") or points.ndim != 1 or points.shape[0] == 0:
            found = f"`points` has dtype {points.dtype}, shape {tuple(points.shape)}"
            msg = f"{found}: pass integer indices (s,) or a mask ({n},), of at least one point."
            raise ValueError(msg)
        if int(xp.min(points)) < -n or int(xp.max(points)) >= n:
            found = f"`points` has indices from {int(xp.min(points))} to {int(xp.max(points))}"
            msg = f"{found}, but there are {n} points: pass indices from 0 to {n - 1}."
            raise IndexError(msg)
        return xp.where(points < 0, points + n, points)

    @property
    def n_outputs(self) -> int:
        """Number C of outputs."""
        return self.values.shape[0]

    @property
    def dim(self) -> int:
        """Number k of features per output."""
        return self.values.shape[2]

    @property
    def sample(self) -> "TangentFeatures":
        """Features of the first point: library, device, type and sizes of all."""
        return TangentFeatures(self.values[:, :1, :], self.sketch)

    def chunks(self) -> Iterator[tuple[int, "TangentFeatures"]]:
        """First position and features of some points after the other: all at once where they are in memory."""
        yield 0, self

    def paired(self, targets: Array) -> Iterator[tuple["TangentFeatures", Array]]:
        """Features and targets (n, C) or (T, n, C) of some points after the other, as passes over chunks take them."""
        for start, part in self.chunks():
            yield part, targets[..., start : start + len(part), :]

    def nearest(self, queries: "TangentFeatures", size: int) -> Neighbours:
        """The nearest points of each of some queries in the metric of the mean kernel, by blocks.

        O(n·q·C·k), memory one chunk and O(q·size) beside the queries; distances in float64 where the device has it.
        Of stored features one pass, by the workers of their client where there is one.

        Raises
        ------
        ValueError
            More neighbours than points; queries by another sketch or of other sizes.
        """
        self.require_comparable(queries, "queries")
        if positive_integer("size", size) > len(self):
            msg = f"`size`={size} neighbours are asked of {len(self)} points: pass at most as many."
            raise ValueError(msg)
        search = Search(queries.joined(), int(size))
        return search.neighbours(self._searched(search))

    def _searched(self, search: Search) -> Found:
        return search(self)

    def joined(self) -> Float[Array, "n d"]:
        """F = [Ψ¹ … Ψ^C]/√C (n, C·k), whose Gram matrix is the mean kernel K̄ = F Fᵀ."""
        return _side_by_side(self.values) * self.n_outputs**-0.5

    def kernel(
        self, other: "TangentFeatures | None" = None, outputs: KernelOutputs = "mean"
    ) -> Float[Array, "*kernel"]:
        """Kernel between two sets of points, with the shapes of :func:`dntk.ntk`.

        Of one set with itself it is symmetric to the last bit.

        Raises
        ------
        ValueError
            The two were made by other sketches, have other numbers of outputs or features, or are so small that their
            products underflow.
        """
        xp = arrays.namespace(self.values)
        theirs = self if other is None else other
        self.require_comparable(theirs, "other")
        count(flops=2 * self.n_outputs * len(self) * len(theirs) * self.dim)
        if outputs == "mean":
            return self._products(theirs, lambda phi: phi.values, _mean_inner)
        if outputs == "each":
            return self._products(theirs, lambda phi: phi.values, _inner)
        if outputs == "full":
            every = self._products(
                theirs, lambda phi: xp.reshape(phi.values, (phi.n_outputs * len(phi), phi.dim)), _inner
            )
            shape = (self.n_outputs, len(self), theirs.n_outputs, len(theirs))
            return xp.permute_dims(xp.reshape(every, shape), (1, 3, 0, 2))
        if outputs == "sum":
            scale = self.n_outputs**-0.5
            return self._products(theirs, lambda phi: xp.sum(phi.values, axis=0) * scale, _inner)
        check_output_index(outputs, self.n_outputs)
        return self._products(theirs, lambda phi: phi.values[int(outputs), :, :], _inner)

    def _products(
        self,
        other: "TangentFeatures",
        rows: Callable[["TangentFeatures"], Array],
        inner: Callable[[Array, Array | None], Array],
    ) -> Array:
        """Inner products of rows of both; of one with itself symmetric, as a general product need not be."""
        with task("products of features", total=1, unit="products") as bar:
            kernel = inner(rows(self), None if other is self else rows(other))
            bar.advance()
        if arrays.largest_magnitude(kernel) < arrays.least_product(kernel):
            largest = arrays.largest_magnitude(self.values), arrays.largest_magnitude(other.values)
            arrays.require_no_underflow("values", kernel, largest=largest)
        return kernel

    def require_comparable(self, other: "TangentFeatures", name: str) -> None:
        """Raise unless inner products between the two sets of features mean anything."""
        require_comparable(self.sample.values, self.sketch, other, name)


def _inner(mine: Array, theirs: Array | None) -> Array:
    """Inner products of rows, of the same ones where there are no others."""
    backend = backend_of(mine)
    return backend.gram(mine) if theirs is None else backend.inner(mine, theirs)


def _mean_inner(mine: Float[Array, "c n k"], theirs: Float[Array, "c m k"] | None) -> Float[Array, "n m"]:
    """The mean over outputs, some at a time: rows of all outputs side by side are a copy of all features."""
    c, longest, k = mine.shape[0], max(mine.shape[1], 0 if theirs is None else theirs.shape[1]), mine.shape[2]
    total: Any = None
    for start, stop in arrays.spans(c, max(1, _COPIED // (longest * k))):
        others = None if theirs is None else _side_by_side(theirs[start:stop, ...])
        part = _inner(_side_by_side(mine[start:stop, ...]), others)
        total = part if total is None else total + part
    return total / c


def _side_by_side(values: Float[Array, "c n k"]) -> Float[Array, "n d"]:
    """Rows of one point side by side: no copy of one output's."""
    xp, (c, n, k) = arrays.namespace(values), values.shape
    return xp.reshape(xp.permute_dims(values, (1, 0, 2)), (n, c * k))


def _indices_on_host(points: Any) -> Any:
    """Indices or a mask in NumPy; ``ValueError`` for lists of several lengths."""
    try:
        host = np.atleast_1d(np.asarray(points))
    except ValueError as error:
        msg = f"`points` is {kind_of(points)} of parts of several lengths: pass integer indices (s,), or a mask."
        raise ValueError(msg) from error
    require_plain_array("points", host)
    return host


def require_comparable(values: Float[Array, "c _ k"], sketch: Any, other: TangentFeatures, name: str) -> None:
    """Raise unless inner products of rows, as of weights or of a basis, with features mean anything."""
    require_features(name, other)
    arrays.require_same_place(features=values, **{name: other.sample.values})
    outputs, _, dim = values.shape
    if (outputs, dim) != (other.n_outputs, other.dim):
        msg = (
            f"`{name}` has {other.n_outputs} outputs of {other.dim} features, but these have {outputs} of "
            f"{dim}: make both with the same model, sketch and outputs."
        )
        raise ValueError(msg)
    if sketch is not None and other.sketch is not None and sketch != other.sketch:
        msg = f"`{name}` was made by {other.sketch}, these by {sketch}: use one sketch, with one seed."
        raise ValueError(msg)


def require_features(name: str, value: Any) -> TangentFeatures:
    """The features; ``TypeError`` where they are none, with how an array becomes some."""
    expected = f"dntk.TangentFeatures; wrap an array (n, k) or (C, n, k), dntk.TangentFeatures({name})"
    if _is_network(value):
        expected = "its features: dntk.tangent_features(dntk.as_model(net), x, sketch=dntk.sketch.SparseSign(4096))"
    require_kind(name, value, TangentFeatures, expected=expected)
    return value


def _is_network(value: Any) -> bool:
    """Whether features can be made of it: a model, or a module of a framework."""
    if isinstance(value, type):
        return False
    known = {module for entry in entries().values() for module in entry.modules}
    return isinstance(value, Model) or (callable(value) and bool(root_modules(value) & known))


def require_kernel_of(name: str, value: Any) -> TangentFeatures:
    """The features of points from which a kernel is made: as :func:`require_features`, and none that underflow.

    Not asked of queries, whose gradients may be small beside those of the kernel. Chunks are read until one has an
    entry that is large enough, the first one as a rule.
    """
    phi, largest = require_features(name, value), 0.0
    # Ridges, eps times the kernel at least, are added in float64 where the device has it, and underflow elsewhere.
    ridges = arrays.accumulation_dtype(phi.sample.values) == phi.sample.values.dtype
    for _, part in phi.chunks():
        largest = max(largest, arrays.largest_magnitude(part.values))
        if largest * largest >= arrays.least_product(part.values) / (arrays.epsilon(part.values) if ridges else 1):
            return phi
    arrays.require_no_underflow(name, phi.sample.values, largest=(largest, largest), ridges=ridges)
    return phi
