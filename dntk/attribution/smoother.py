"""Smoothers of ridge regression, on all features or in the span of synthetic gradients, with what the span loses.

The regression on features ψ predicts f(x) = Σ_i h_i(x) y_i with

    h_i(x) = ψ(x)ᵀ G⁻¹ ψ_i,   G = ΨᵀΨ + λI.

In a span with orthonormal rows B, projection Π = BᵀB and coordinates Z = ΨBᵀ, the regression is Galerkin's:

    ĥ_i(x) = ψ(x)ᵀ Bᵀ(BGBᵀ)⁻¹B ψ_i,   BGBᵀ = ZᵀZ + λI.

E = G⁻¹ − Bᵀ(BGBᵀ)⁻¹B is positive semidefinite with EGE = E (Galerkin orthogonality), so that

    |h_i(x) − ĥ_i(x)| = |ψ(x)ᵀ E ψ_i| ≤ τ(x) τ(x_i),   τ(v)² = ψᵀEψ = ρᵀG⁻¹ρ ≤ ‖ρ‖²/λ,

with ρ = GEψ = (I − Π)ψ − (I − Π)ΨᵀZ(ZᵀZ + λI)⁻¹Bψ: what the span leaves of a gradient, and of its image. Both parts
are known from one pass over the features, and of a query from its own features alone.
"""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.certificates.rounding import allowance
from dntk.distilled_gradients import row_basis
from dntk.features import TangentFeatures
from dntk.ledger import count_product
from dntk.solve.conditioning import cholesky_solve, factorise, inverse_factor
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanLoss:
    """What a smoother in a span needs to bound what the span loses.

    Parameters
    ----------
    coupling
        (I − Π)ΨᵀZ(ZᵀZ + λI)⁻¹, (C, k, s).
    gaps
        τ(x_i) of the points of the regression, (C, n).
    rounding
        What rounding may add to ĥ_i(x), per unit of ‖ψ(x)‖, (C, n).
    """

    coupling: Float[Array, "c k s"]
    gaps: Float[Array, "c n"]
    rounding: Float[Array, "c n"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Smoother:
    """h_i(x) of every output for queries given by their features.

    Parameters
    ----------
    rows
        M (C, n, d) with h_i(x) = ⟨M_i, z(x)⟩: G⁻¹ψ_i, or its like in the span; in float64 where the device has it.
    slacks
        1 − h_i(x_i), (C, n), positive.
    ridge
        λ.
    basis
        Rows that span what was kept, (C, s, k): queries have the coordinates z = Bψ(x) there. None: all features.
    loss
        What the span loses.
    """

    rows: Float[Array, "c n d"]
    slacks: Float[Array, "c n"]
    ridge: float
    basis: Float[Array, "c s k"] | None = None
    loss: SpanLoss | None = None

    def weights(self, phi: TangentFeatures) -> Float[Array, "c q n"]:
        """h_i(x) for every query and point; O(C·q·(k + n)·d)."""
        coordinates = _as(phi.values, self.rows)
        if self.basis is not None:
            coordinates = coordinates @ self.basis.mT
        count_product(coordinates, self.rows.mT)
        return coordinates @ self.rows.mT

    def gaps(self, phi: TangentFeatures) -> Float[Array, "c q"]:
        """τ(x) of every query: the root of what the span loses of its variance; zero where nothing was distilled."""
        xp = arrays.namespace(phi.values)
        if self.loss is None or self.basis is None:
            return xp.zeros(phi.values.shape[:2], dtype=self.rows.dtype, device=arrays.device_of(phi.values))
        return gaps_of(_as(phi.values, self.rows), self.basis, self.loss.coupling, self.ridge)

    def errors(self, phi: TangentFeatures) -> Float[Array, "c q n"]:
        """Bounds on |h_i(x) − ĥ_i(x)|, rounding included; zeros where nothing was distilled."""
        gaps = self.gaps(phi)
        xp = arrays.namespace(gaps)
        if self.loss is None:
            return xp.zeros((*gaps.shape, self.rows.shape[1]), dtype=gaps.dtype, device=arrays.device_of(gaps))
        norms = xp.sqrt(xp.sum(_as(phi.values, gaps) ** 2, axis=2))
        return gaps[:, :, None] * self.loss.gaps[:, None, :] + norms[:, :, None] * self.loss.rounding[:, None, :]


def smoother(features: Float[Array, "c n k"], ridge: float) -> Smoother:
    """Smoother of the regression on all features; O(n·d·min(n, d)) for each output, and no (k, k) array if n ≤ k.

    Raises
    ------
    ValueError
        The system is singular to working precision at this ridge.
    """
    rows, slacks = _solved(features, ridge)
    return Smoother(rows=rows, slacks=slacks, ridge=ridge)


def smoother_in_span(features: Float[Array, "c n k"], basis: Float[Array, "c s k"], ridge: float) -> Smoother:
    """Smoother of the regression in a span, with what the span loses; O(C·n·k·s).

    Raises
    ------
    ValueError
        The system is singular to working precision at this ridge.
    """
    xp = arrays.namespace(features)
    wide, kept = arrays.in_float64(features), row_basis(arrays.in_float64(basis))
    projected = wide @ kept.mT
    rows, slacks = _solved(projected, ridge)
    # Rows of M are (ZᵀZ + λI)⁻¹z_i, so that Ψᵀ M = ΨᵀZ(ZᵀZ + λI)⁻¹.
    image = wide.mT @ rows
    coupling = image - kept.mT @ (kept @ image)
    eps, size = arrays.epsilon(wide), max(wide.shape)
    trace = float(xp.max(xp.sum(wide**2, axis=(1, 2))))
    unit = allowance("galerkin", eps, size, 1.0)
    norms = xp.sqrt(xp.sum(wide**2, axis=2))
    loss = SpanLoss(
        coupling=coupling,
        gaps=gaps_of(wide, kept, coupling, ridge),
        rounding=norms * (unit * (1 + trace / ridge) / ridge),
    )
    return Smoother(rows=rows, slacks=slacks, ridge=ridge, basis=kept, loss=loss)


def _solved(features: Float[Array, "c n d"], ridge: float) -> tuple[Float[Array, "c n d"], Float[Array, "c n"]]:
    """Rows G⁻¹ψ_i, which are those of (K + λI)⁻¹Ψ, and 1 − h_i(x_i), by the smaller of the two systems."""
    xp = arrays.namespace(features)
    wide = arrays.in_float64(features)
    dual = features.shape[1] <= features.shape[2]
    with task("smoother", total=2) as bar:
        factor, _ = factorise(_symmetric(wide @ wide.mT if dual else wide.mT @ wide), ridge)
        bar.advance()
        rows = cholesky_solve(factor, wide) if dual else cholesky_solve(factor, wide.mT).mT
        inverse = inverse_factor(factor) if dual else None
        bar.advance()
    if inverse is not None:
        return rows, ridge * xp.sum(inverse * inverse, axis=1)
    slacks = 1 - xp.sum(rows * wide, axis=2)
    # h_i ≤ κ_ii/(κ_ii + λ) whatever the other points are: what rounding takes of the slack is given back.
    least = ridge / (ridge + xp.sum(wide * wide, axis=2))
    return rows, xp.where(slacks > least, slacks, least)


def gaps_of(
    wide: Float[Array, "c n k"], basis: Float[Array, "c s k"], coupling: Float[Array, "c k s"], ridge: float
) -> Float[Array, "c n"]:
    """‖ρ‖/√λ, and what rounding may add to it."""
    xp = arrays.namespace(wide)
    coordinates = wide @ basis.mT
    left = wide - coordinates @ basis - coordinates @ coupling.mT
    unit = allowance("trace residual", arrays.epsilon(wide), max(wide.shape), 1.0)
    sizes = xp.sqrt(xp.sum(wide**2, axis=2)) + xp.sqrt(xp.sum((coordinates @ coupling.mT) ** 2, axis=2))
    return (xp.sqrt(xp.sum(left**2, axis=2)) + unit * sizes) * ridge**-0.5


def _symmetric(matrix: Float[Array, "c m m"]) -> Float[Array, "c m m"]:
    return (matrix + matrix.mT) / 2


def _as(values: Array, like: Array) -> Array:
    return arrays.namespace(values).astype(values, like.dtype, copy=False)
