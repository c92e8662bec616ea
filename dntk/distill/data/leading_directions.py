"""The leading directions of points: few rows that stand for all of them where their squares are summed."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeadingDirections:
    """Eigenvalues of F Fᵀ, largest first, with orthonormal eigenvectors U.

    The rows UᵣᵀF of the r largest have FᵀUᵣUᵣᵀF ≤ FᵀF, and no r rows come nearer to it: of ‖FΠ‖², Π any projector,
    they tell no more than there is.
    """

    features: Float[Array, "n d"]
    values: Float[Array, " n"]
    vectors: Float[Array, "n n"]

    @classmethod
    def of(cls, features: Float[Array, "n d"]) -> "LeadingDirections":
        """Cost O(n²·d + n³), memory O(n²)."""
        n, d = features.shape
        gram = arrays.in_float64(backend_of(features).gram(features))
        xp = arrays.namespace(gram)
        count(flops=2 * n**2 * d + 10 * n**3)
        values, vectors = xp.linalg.eigh(gram)
        return cls(features=features, values=xp.flip(xp.clip(values, min=0)), vectors=xp.flip(vectors, axis=1))

    def coordinates(self) -> Float[Array, "n n"]:
        """Points C with C Cᵀ = F Fᵀ: all that a kernel knows of them."""
        xp = arrays.namespace(self.values)
        return xp.astype(self.vectors * xp.sqrt(self.values), self.features.dtype, copy=False)

    def rows(self, size: int) -> Float[Array, "r d"]:
        """The features along the first ``size`` eigenvectors."""
        xp = arrays.namespace(self.values)
        chosen = xp.astype(self.vectors[:, :size], self.features.dtype, copy=False)
        count(flops=2 * chosen.shape[1] * self.features.shape[0] * self.features.shape[1])
        return chosen.T @ self.features
