"""All points as combinations of a few, whose coefficients are kept along training.

Where all gradients are known, at the reference r, those of n points are regressed on those of the few S,

    P = K̄_r[:, S] (K̄_r[S, S] + λI)⁻¹,   Ψ_r ≈ P Ψ_r[S],

as Nyström's method has it. At every other checkpoint P is kept and only the few are differentiated:
K̄_t ≈ P K̄_t[S, S] Pᵀ.
With P = QR the small kernel R K̄_t[S, S] Rᵀ has its eigenvalues and norms, and with targets QᵀY its products with YYᵀ.
"""

import dataclasses

from jaxtyping import Float, Int

from dntk import arrays
from dntk.features import TangentFeatures
from dntk.types import Array

RIDGE = 1e-4
"""λ in units of the largest eigenvalue of the kernel of the few. From 1e-5 to 3e-4 errors hardly differ; without any,
coefficients of points that are alike grow and fit nothing but the reference."""

_ENTRIES = 2**24
"""Entries of float64 features of all points that are held at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """Few points that stand for all: their features times ``root`` have the kernel that is measured.

    Parameters
    ----------
    root
        R, or square roots of weights on a diagonal.
    targets
        What the targets of all points are to it.
    share
        ‖ZZᵀ‖_F/‖YYᵀ‖_F of these targets Z and those of all points Y: an alignment with Z times this is one with Y.
    """

    root: Float[Array, "q m"]
    targets: Float[Array, "q c"] | None
    share: float = 1.0

    def of(self, phi: TangentFeatures) -> TangentFeatures:
        """Features of the few, spread."""
        return _combined(self.root, phi)


def weighted(weights: Float[Array, " m"], targets: Float[Array, "m c"] | None) -> Spread:
    """Points of weight w, each of which stands for w: kernel √w_i K̄_ij √w_j, targets √w_i y_i."""
    xp = arrays.namespace(weights)
    root = xp.sqrt(arrays.in_float64(weights))
    eye = xp.eye(root.shape[0], dtype=root.dtype, device=arrays.device_of(root))
    y = None if targets is None else root[:, None] * arrays.in_float64(targets)
    return Spread(root=root[:, None] * eye, targets=y)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Coefficients P of all points."""

    coefficients: Float[Array, "n m"]

    @staticmethod
    def fitted(phi: TangentFeatures, few: Int[Array, " m"]) -> "Interpolation":
        """From features of all points and the positions of the few; O(n·m·C·k) by blocks of points."""
        xp = arrays.namespace(phi.values)
        centres = arrays.in_float64(phi[few].joined())
        scale = arrays.largest_magnitude(centres) or 1.0
        centres = centres / scale
        kernel = centres @ centres.T
        values, vectors = xp.linalg.eigh((kernel + kernel.T) / 2)
        largest = float(values[-1])
        shrunk = values + RIDGE * largest if largest > 0 else xp.ones_like(values)
        solve = (vectors / shrunk) @ vectors.T
        parts = []
        for start, stop in arrays.spans(len(phi), max(1, _ENTRIES // centres.shape[1])):
            rows = arrays.in_float64(phi[start:stop].joined()) / scale
            parts.append((rows @ centres.T) @ solve)
        return Interpolation(coefficients=xp.concat(parts, axis=0))

    def spread(self, targets: Float[Array, "n c"] | None) -> Spread:
        """The few for all points, in as many rows as there are few."""
        xp = arrays.namespace(self.coefficients)
        q, root = xp.linalg.qr(self.coefficients)
        if targets is None:
            return Spread(root=root, targets=None)
        every = arrays.in_float64(targets)
        inside = q.T @ every
        whole = float(xp.linalg.vector_norm(every.T @ every))
        share = float(xp.linalg.vector_norm(inside.T @ inside)) / whole if whole > 0 else 1.0
        return Spread(root=root, targets=inside, share=share)

    def at(self, points: Int[Array, " h"], phi: TangentFeatures) -> TangentFeatures:
        """What some points' features should be, from those of the few."""
        xp = arrays.namespace(self.coefficients)
        return _combined(xp.take(self.coefficients, points, axis=0), phi)


def _combined(rows: Float[Array, "q m"], phi: TangentFeatures) -> TangentFeatures:
    xp = arrays.namespace(rows)
    values = arrays.in_float64(phi.values)
    parts = [rows @ values[c, :, :] for c in range(phi.n_outputs)]
    return TangentFeatures(xp.stack(parts), phi.sketch)
