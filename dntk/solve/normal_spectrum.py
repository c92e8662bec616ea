"""Ridge regression for any number of ridges from one eigendecomposition of ΦᵀΦ."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormalSpectrum:
    """ΦᵀΦ = V diag(e) Vᵀ with VᵀΦᵀy: weights, errors and degrees of freedom of a ridge cost O(k) per target.

    Parameters
    ----------
    values, vectors
        e (g, k), ascending, and V (g, k, k).
    products
        VᵀΦᵀy (g, k, q).
    squares
        Σy² (g, q).
    points, weight, rounding
        As in :class:`dntk.solve.NormalEquations`.
    """

    values: Float[Array, "g k"]
    vectors: Float[Array, "g k k"]
    products: Float[Array, "g k q"]
    squares: Float[Array, "g q"]
    points: int
    weight: float
    rounding: float

    def weights(self, ridges: Float[Array, " r"]) -> Float[Array, "r g k q"]:
        """w(λ) = V (e + λ)⁻¹VᵀΦᵀy for every ridge: one product of all of them."""
        xp = arrays.namespace(self.values)
        (g, k, q), r = self.products.shape, ridges.shape[0]
        shrunk = self.products[:, :, None, :] / (self.values[:, :, None] + ridges)[:, :, :, None]
        flat = self.vectors @ xp.reshape(shrunk, (g, k, r * q))
        return xp.permute_dims(xp.reshape(flat, (g, k, r, q)), (2, 0, 1, 3))

    def train_mse(self, ridges: Float[Array, " r"]) -> Float[Array, "r g q"]:
        """Mean squared residual on the points, (Σy² − Σ_j b_j²(e_j + 2λ)/(e_j + λ)²)/Σw_i."""
        xp = arrays.namespace(self.values)
        largest = xp.max(self.values)
        size = xp.where(largest > 0, largest, xp.ones_like(largest))  # so that squares of eigenvalues are in range
        e, lam = self.values[:, :, None] / size, ridges[None, None, :] / size
        explained = ((self.products / xp.sqrt(size)) ** 2).mT @ ((e + 2 * lam) / (e + lam) ** 2)
        residual = xp.clip(self.squares[:, :, None] - explained, min=0)
        return xp.permute_dims(residual, (2, 0, 1)) / self.weight

    def effective_dimension(self, ridges: Float[Array, " r"]) -> Float[Array, "r g"]:
        """d_λ = Σ_j e_j/(e_j + λ)."""
        e = self.values[None, :, :]
        return arrays.namespace(e).sum(e / (e + ridges[:, None, None]), axis=2)

    def gcv(self, ridges: Float[Array, " r"]) -> Float[Array, "r g q"]:
        """Generalised cross-validation, MSE/(1 − d_λ/n)² (Golub, Heath and Wahba 1979).

        A mean squared residual below ``rounding``·Σy² is not known from the statistics: it counts as that.
        """
        xp = arrays.namespace(self.values)
        slack = xp.clip(1 - self.effective_dimension(ridges) / self.points, min=self.rounding)
        known = xp.maximum(self.train_mse(ridges), self.rounding * self.squares[None, :, :] / self.weight)
        return known / slack[:, :, None] ** 2
