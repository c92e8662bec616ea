"""PyTorch's Adam as a function of its state."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchAdam:
    """``torch.optim.Adam`` whose state is passed in and out, so that it can be stored."""

    decays: tuple[float, float]

    def start(self, x: Array) -> dict[str, Array]:
        """Both averages, zero."""
        like: Any = x
        return {"exp_avg": torch.zeros_like(like), "exp_avg_sq": torch.zeros_like(like)}

    def step(
        self, x: Array, gradient: Array, state: Mapping[str, Array], *, learning_rate: float, number: int
    ) -> tuple[Array, dict[str, Array]]:
        """The array and the averages after step ``number``, counted from 1."""
        tensors: Any = (x, gradient, state["exp_avg"], state["exp_avg_sq"])
        with torch.inference_mode(False), torch.no_grad():
            leaf, direction, first, second = (value.detach().clone() for value in tensors)
            leaf.grad = direction
            optimiser = torch.optim.Adam([leaf], lr=learning_rate, betas=self.decays, foreach=False)
            optimiser.state[leaf] = {"step": torch.tensor(number - 1.0), "exp_avg": first, "exp_avg_sq": second}
            optimiser.step()
        moved: Any = leaf.detach()
        averages: Any = optimiser.state[leaf]
        return moved, {name: averages[name] for name in ("exp_avg", "exp_avg_sq")}
