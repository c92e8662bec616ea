"""Points in coordinates of the span of the kept ones: what bases in it leave of every point."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk._progress import task
from dntk.backend import backend_of
from dntk.certificates.rounding import allowance
from dntk.features import TangentFeatures
from dntk.gradient_blocks._squared_norms import squared_norms
from dntk.ledger import count
from dntk.models import batches
from dntk.models.base import Model
from dntk.models.batching import choose_batch_size
from dntk.outputs.functionals import cotangents_for
from dntk.stores.rows import PointRows
from dntk.stores.spread import all_parts
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Frame:
    """Orthonormal coordinates of the span of the kept points; without ``rows`` (C, r, k) those of the features."""

    kept: TangentFeatures
    rows: Float[Array, "c r k"] | None

    @staticmethod
    def of(kept: TangentFeatures) -> "Frame":
        """Coordinates in which the kept features have no more than there are points."""
        return Frame(kept, None) if kept.dim <= len(kept) else Frame.in_order(kept)

    @staticmethod
    def in_order(kept: TangentFeatures) -> "Frame":
        """The first coordinates are those of the points that were picked first: QR, in float64 where there is one."""
        count(flops=4 * kept.n_outputs * kept.dim * len(kept) * min(kept.dim, len(kept)))
        return Frame(kept, arrays.namespace(kept.values).linalg.qr(arrays.in_float64(kept.values).mT)[0].mT)

    def coordinates(self, phi: TangentFeatures) -> Float[Array, "c q r"]:
        """Of the part of features that is in the span, in float64 where the device has it."""
        wide = arrays.in_float64(phi.values)
        if self.rows is None:
            return wide
        count(flops=2 * phi.n_outputs * len(phi) * phi.dim * self.rows.shape[1])
        return wide @ self.rows.mT

    @property
    def turned(self) -> TangentFeatures:
        """The kept features in these coordinates: the same kernels, with no more coordinates than points."""
        xp = arrays.namespace(self.kept.values)
        if self.rows is None:
            return self.kept
        return TangentFeatures(xp.astype(self.coordinates(self.kept), self.kept.values.dtype, copy=False))

    def of_basis(self, basis: Float[Array, "c s k"]) -> Float[Array, "c s r"]:
        """Rows in the features' coordinates, in these; no longer than orthonormal ones, which rounding makes them."""
        xp = arrays.namespace(basis)
        wide = arrays.in_float64(basis)
        longest = xp.max(xp.sum(xp.abs(wide @ wide.mT), axis=2))  # ‖BBᵀ‖₂ is at most its largest sum of a row
        wide = wide / xp.sqrt(xp.clip(longest, min=1))
        return wide if self.rows is None or basis.shape[2] == self.rows.shape[1] else wide @ self.rows.mT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Energies:
    """Of some points: squared lengths ĝ (q,) on the host, and coordinates in a frame."""

    positions: Int[np.ndarray, " q"]
    lengths: Float[np.ndarray, " q"]
    inside: Float[Array, "c q r"]

    def outside(self, basis: Float[Array, "c s r"] | None) -> Float[np.ndarray, " q"]:
        """What an orthonormal basis leaves of every point, or all coordinates do; and what rounding may hide."""
        xp = arrays.namespace(self.inside)
        held = _host(xp.sum((self.inside if basis is None else self.inside @ basis.mT) ** 2, axis=(0, 2)))
        slack = allowance("trace residual", arrays.epsilon(self.inside), self.inside.shape[2], 1.0)
        return np.clip(self.lengths - held, 0, None) + slack * self.lengths

    def outside_first(self) -> Float[np.ndarray, "q r"]:
        """What the first 1, …, r kept points leave of every point."""
        xp = arrays.namespace(self.inside)
        held = xp.cumulative_sum(xp.sum(self.inside**2, axis=0), axis=1)
        return np.clip(self.lengths[:, None] - _host(held), 0, None)


def energies_of(frame: Frame, phi: TangentFeatures, positions: Int[np.ndarray, " q"]) -> Energies:
    """Energies of points given by their features."""
    xp = arrays.namespace(phi.values)
    lengths = _host(xp.sum(arrays.in_float64(phi.values) ** 2, axis=(0, 2)))
    return Energies(positions=positions, lengths=lengths, inside=frame.coordinates(phi))


def squared_lengths(model: Model, x: Array, client: Any = None) -> Float[np.ndarray, " n"]:
    """Σ_c‖φ_c(x_i)‖² of every point, on the host: one forward and C backward passes to outputs of layers, no sketch.

    Workers of a client make batches of several.
    """
    xp = model.namespace
    dtype = arrays.kernel_dtype(xp, model.dtype)
    every = cotangents_for("each", model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    size = choose_batch_size(model, x, every, None)
    with task("lengths of gradients", total=batches.count(x), unit="points") as bar:
        return np.asarray(all_parts(PointRows(functools.partial(_lengths, model, every), size, axis=0), x, client, bar))


def _lengths(model: Model, every: Float[Array, "c c"], x: Array) -> Float[np.ndarray, " n"]:
    count(jacobian_rows=batches.count(x) * model.n_outputs)
    norms = [squared_norms(block) for block in model.gradient_blocks(x, every)]
    return np.asarray(sum(_host(arrays.namespace(part).sum(arrays.in_float64(part), axis=0)) for part in norms))


def _host(x: Array) -> Float[np.ndarray, "..."]:
    return np.asarray(backend_of(x).to_numpy(x), dtype=np.float64)
