"""Frequent Directions: a few rows B with ΦᵀΦ − ΔI ≤ BᵀB ≤ ΦᵀΦ, from one pass over the rows of Φ."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.ledger import count
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrequentDirections:
    """The rows so far.

    Parameters
    ----------
    rows
        B, (s, d); zero rows where fewer have come.
    shift
        Δ, what shrinking has removed from BᵀB at most: 0 ≤ ΦᵀΦ − BᵀB ≤ ΔI, and for every r < s + 1
        Δ ≤ ‖Φ − Φ_r‖_F²/(s + 1 − r) (Liberty 2013; Ghashami, Liberty, Phillips and Woodruff 2016).
    energy
        ‖Φ‖_F².
    """

    rows: Float[Array, "s d"]
    shift: float
    energy: float

    @staticmethod
    def empty(size: int, dim: int, *, like: Array) -> "FrequentDirections":
        """No rows yet, in float64 where the device of ``like`` has it."""
        xp = arrays.namespace(like)
        rows = xp.zeros((size, dim), dtype=arrays.accumulation_dtype(like), device=arrays.device_of(like))
        return FrequentDirections(rows=rows, shift=0.0, energy=0.0)

    def absorbed(self, features: Float[Array, "n d"]) -> "FrequentDirections":
        """With more rows of Φ, a block at a time: O(n·s·d)."""
        found = self
        for start, stop in arrays.spans(features.shape[0], max(self.rows.shape[0], 64)):
            found = found._with_block(features[start:stop, :])
        return found

    def merged(self, other: "FrequentDirections") -> "FrequentDirections":
        """Of the rows of both: passes over parts of the data may run apart from each other."""
        both = self._with_block(other.rows)
        return dataclasses.replace(both, shift=both.shift + other.shift, energy=self.energy + other.energy)

    def _with_block(self, block: Float[Array, "b d"]) -> "FrequentDirections":
        """Shrink [B; block] by its (s + 1)-th squared singular value."""
        xp = arrays.namespace(self.rows)
        size, d = self.rows.shape
        wide = xp.astype(block, self.rows.dtype, copy=False)
        stack = xp.concat([self.rows, wide], axis=0)
        height = stack.shape[0]
        count(flops=2 * height * height * d + 9 * height**3 + 2 * height * size * d)
        values, vectors = xp.linalg.eigh(stack @ stack.T)
        values, vectors = xp.clip(xp.flip(values, axis=0), min=0), xp.flip(vectors, axis=1)
        removed = values[size]
        kept = values[:size]
        positive = kept > 0
        ratio = xp.clip(kept - removed, min=0) / xp.where(positive, kept, xp.ones_like(kept))
        rows = xp.sqrt(ratio)[:, None] * (vectors[:, :size].T @ stack)
        return FrequentDirections(
            rows=rows, shift=self.shift + float(removed), energy=self.energy + float(xp.sum(wide * wide))
        )
