"""Tangent features: per-sample gradients of every output, sketched to k numbers."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import require_kind
from dntk._foreign import require_plain_array
from dntk.backend import backend_of, entries, root_modules
from dntk.checkpoints import Checkpoints, KeptRows, digest
from dntk.ledger import count
from dntk.models.base import Model, checked_inputs, require_model
from dntk.outputs import FeatureOutputs, KernelOutputs
from dntk.outputs.functionals import check_output_index, cotangents_for
from dntk.sketch.application import bind, sketched_gradients
from dntk.sketch.resolution import AnySketch, check_sketch, resolved
from dntk.types import Array


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
            host = np.atleast_1d(np.asarray(points))
            require_plain_array("points", host)
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

    def joined(self) -> Float[Array, "n d"]:
        """F = [Ψ¹ … Ψ^C]/√C (n, C·k), whose Gram matrix is the mean kernel K̄ = F Fᵀ."""
        xp = arrays.namespace(self.values)
        c, n, k = self.values.shape
        return xp.reshape(xp.permute_dims(self.values, (1, 0, 2)), (n, c * k)) * c**-0.5

    def kernel(
        self, other: "TangentFeatures | None" = None, outputs: KernelOutputs = "mean"
    ) -> Float[Array, "*kernel"]:
        """Kernel between two sets of points, with the shapes of :func:`dntk.ntk`.

        Of one set with itself it is symmetric to the last bit.

        Raises
        ------
        ValueError
            The two were made by other sketches or have other numbers of outputs or features.
        """
        xp = arrays.namespace(self.values)
        theirs = self if other is None else other
        self.require_comparable(theirs, "other")
        count(flops=2 * self.n_outputs * len(self) * len(theirs) * self.dim)
        if outputs == "mean":
            return self._products(theirs, lambda phi: phi.joined())
        if outputs == "each":
            return self._products(theirs, lambda phi: phi.values)
        if outputs == "full":
            every = self._products(theirs, lambda phi: xp.reshape(phi.values, (phi.n_outputs * len(phi), phi.dim)))
            shape = (self.n_outputs, len(self), theirs.n_outputs, len(theirs))
            return xp.permute_dims(xp.reshape(every, shape), (1, 3, 0, 2))
        if outputs == "sum":
            scale = self.n_outputs**-0.5
            return self._products(theirs, lambda phi: xp.sum(phi.values, axis=0) * scale)
        check_output_index(outputs, self.n_outputs)
        return self._products(theirs, lambda phi: phi.values[int(outputs), :, :])

    def _products(self, other: "TangentFeatures", rows: Callable[["TangentFeatures"], Array]) -> Array:
        """Inner products of rows of both; of one with itself symmetric, as a general product need not be."""
        mine = rows(self)
        backend = backend_of(mine)
        return backend.gram(mine) if other is self else backend.inner(mine, rows(other))

    def require_comparable(self, other: "TangentFeatures", name: str) -> None:
        """Raise unless inner products between the two sets of features mean anything."""
        require_comparable(self.values, self.sketch, other, name)


def require_comparable(values: Float[Array, "c _ k"], sketch: Any, other: TangentFeatures, name: str) -> None:
    """Raise unless inner products of rows, as of weights or of a basis, with features mean anything."""
    require_features(name, other)
    arrays.require_same_place(features=values, **{name: other.values})
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


def tangent_features(
    model: Model,
    x: Array,
    *,
    sketch: AnySketch = "auto",
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> TangentFeatures:
    """Sketched tangent features ψ_c(x) = S ∇_θ f_c(x) of every input.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`.
    x
        Inputs.
    sketch
        For example ``dntk.sketch.SparseSign(4096)``, or a plan of :func:`dntk.sketch.choose`, or ``"auto"``: all P
        coordinates up to 4,096 parameters, else the plan for these points, a relative kernel error of 5% at 95%
        confidence. ``None`` keeps all P coordinates (small models only).
    outputs
        ``"each"``: all C outputs. ``"sum"``: the one functional (1/√C) Σ_c f_c. An integer: that output. The latter
        two cost one backward pass and give features of one output.
    batch_size
        Inputs differentiated at once; default: as many as keep gradient blocks within a memory budget.
    memory_limit
        Bytes that the features, while they are put together, and gradients may take beside the network and ``x``;
        default: gradient blocks of 1 GiB.

    Returns
    -------
    TangentFeatures
        Values (C or 1, n, k) of the model's dtype on its device, accumulated in float64 where the device has it;
        ``.sketch`` is the sketch bound to the model's P.

    Raises
    ------
    TypeError, ValueError
        As :func:`dntk.ntk`; also a sketch bound to another number of parameters.

    Notes
    -----
    Memory O(batch · C · k + the blocks of one batch + one chunk): neither n × P nor P × k exists.
    """
    return kept_features(
        model, x, sketch=sketch, outputs=outputs, batch_size=batch_size, memory_limit=memory_limit, kept=None
    )


def kept_features(
    model: Model,
    x: Array,
    *,
    sketch: AnySketch,
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    kept: tuple[Checkpoints, str] | None,
) -> TangentFeatures:
    """As :func:`tangent_features`; with a folder and a name their batches are kept there, or found there.

    The name tells points apart; another sketch, output or batch size has entries of its own.
    """
    xp = require_model(model).namespace
    check_sketch(sketch)
    if outputs in ("mean", "full"):
        msg = f"features have no `outputs`={outputs!r}: take 'each', then ask for .kernel(outputs={outputs!r})."
        raise ValueError(msg)
    x = checked_inputs(model, x)
    dtype = arrays.kernel_dtype(xp, model.dtype)
    cotangents = cotangents_for(outputs, model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    meant = resolved(sketch, model, x, outputs=outputs)
    bound = None if meant is None else bind(meant, model)
    rows = None if kept is None else KeptRows(kept[0], f"{kept[1]}-{digest(bound, outputs)}")
    values = sketched_gradients(model, x, bound, cotangents, batch_size, memory_limit=memory_limit, kept=rows)
    return TangentFeatures(values, bound)


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
