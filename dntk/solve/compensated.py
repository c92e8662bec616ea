"""Sums of many arrays: in float64 where the device has it, elsewhere with the rounding carried along."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Total:
    """A running sum; ``carry`` is what rounding has left out of ``value`` (Knuth's two-sum), if it is kept."""

    value: Float[Array, "*shape"]
    carry: Float[Array, "*shape"] | None = None

    @classmethod
    def of(cls, term: Float[Array, "*shape"]) -> "Total":
        """Sum of one term, in float64 where its device has it."""
        xp, dtype = arrays.namespace(term), arrays.accumulation_dtype(term)
        value = xp.astype(term, dtype)
        return cls(value=value, carry=None if xp.finfo(dtype).bits == 64 else xp.zeros_like(value))

    def __add__(self, term: Float[Array, "*shape"]) -> "Total":
        """The sum with one term more."""
        added = arrays.namespace(term).astype(term, self.value.dtype, copy=False)
        if self.carry is None:
            return Total(value=self.value + added)
        total = self.value + added
        back = total - self.value
        lost = (self.value - (total - back)) + (added - back)
        return Total(value=total, carry=self.carry + lost)

    def merge(self, other: "Total") -> "Total":
        """Sum of two sums."""
        merged = self + other.value
        if merged.carry is None or other.carry is None:
            return merged
        return Total(value=merged.value, carry=merged.carry + other.carry)

    def result(self) -> Float[Array, "*shape"]:
        """The sum, the carried rounding included."""
        return self.value if self.carry is None else self.value + self.carry
