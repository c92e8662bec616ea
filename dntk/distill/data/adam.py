"""Adam in array API: the same descent on every library, with no optimiser of a framework."""

import dataclasses
from collections.abc import Mapping

from dntk import arrays
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """x ← x − η m̂ / (√v̂ + ε), with bias-corrected moving averages m̂ of gradients and v̂ of their squares.

    Kingma and Ba, *Adam: a method for stochastic optimization*, ICLR 2015. Equivalent to ``torch.optim.Adam`` and
    ``optax.adam``.
    """

    decays: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def start(self, x: Array) -> dict[str, Array]:
        """Both averages, zero."""
        xp = arrays.namespace(x)
        return {"first": xp.zeros_like(x), "second": xp.zeros_like(x)}

    def step(
        self, x: Array, gradient: Array, state: Mapping[str, Array], *, learning_rate: float, number: int
    ) -> tuple[Array, dict[str, Array]]:
        """The array and the averages after step ``number``, counted from 1."""
        xp = arrays.namespace(x)
        slow, fast = self.decays
        first = state["first"] * slow + gradient * (1 - slow)
        second = state["second"] * fast + gradient * gradient * (1 - fast)
        scale = xp.sqrt(second / (1 - fast**number)) + self.epsilon
        return x - first / scale * (learning_rate / (1 - slow**number)), {"first": first, "second": second}
