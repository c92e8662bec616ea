"""Optax's Adam as a function of its state."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptaxAdam:
    """``optax.scale_by_adam``; raises ``ImportError`` where optax is not installed."""

    decays: tuple[float, float]
    library: Any

    @classmethod
    def of(cls, decays: tuple[float, float]) -> "OptaxAdam":
        """Adam with these decay rates."""
        try:
            import optax
        except ImportError as error:
            msg = 'optimising the inputs of JAX networks needs optax, which is not installed: pip install "dntk[jax]"'
            raise ImportError(msg) from error
        return cls(decays=decays, library=optax)

    def start(self, x: Array) -> dict[str, Array]:
        """Both averages, zero."""
        state = self.library.scale_by_adam(*self.decays).init(x)
        return {"mu": state.mu, "nu": state.nu}

    def step(
        self, x: Array, gradient: Array, state: Mapping[str, Array], *, learning_rate: float, number: int
    ) -> tuple[Array, dict[str, Array]]:
        """The array and the averages after step ``number``, counted from 1."""
        count = jnp.asarray(number - 1, dtype=jnp.int32)
        before = self.library.ScaleByAdamState(count=count, mu=state["mu"], nu=state["nu"])
        update, after = self.library.scale_by_adam(*self.decays).update(gradient, before)
        return x - learning_rate * update, {"mu": after.mu, "nu": after.nu}
