"""Whether gradients add up to autograd's own, on the inputs of a call and whatever way the network took there.

Agreement for random weights is agreement of every gradient, with probability one. Cost: a backward pass to the
parameters, and products as large.
"""

from typing import Any

import torch

from dntk import arrays
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock, TiedBlock
from dntk_torch._evidence import mixed_gradients, mixture
from dntk_torch._scatter import scatter_add
from dntk_torch.behaviour import tolerance
from dntk_torch.capture import Capture
from dntk_torch.execution import own_precision
from dntk_torch.private_copy import Values


class Sums:
    """Autograd's gradients of a random mixture of all inputs' functionals."""

    def __init__(self, captured: Capture, parameters: Values, cotangents: torch.Tensor, epsilon: float) -> None:
        outputs = captured.outputs
        every = cotangents.to(outputs.dtype).expand(-1, outputs.shape[0], -1)  # in a coarser one, products would round
        found = mixed_gradients(outputs, parameters, every, captured.cuts)
        self._expected: dict[str, Any] = {name: _plain(found[name], value) for name, value in parameters.items()}
        self._weights = mixture(every)
        self._epsilon = max(epsilon, arrays.epsilon(outputs))
        norms = [value.double().norm() for value in self._expected.values()]
        self._rounding = 100 * self._epsilon * (float(torch.stack(norms).norm()) if norms else 0.0)

    def agrees(self, name: str, block: GradientBlock) -> bool:
        """Whether the gradients of a block add up to that of its parameter."""
        expected = self._expected[name]
        if block.size != expected.shape[0]:
            return False
        with own_precision(expected.device):
            error = float((summed(block, self._weights) - expected).norm())
        share = max(tolerance(expected), 3 * self._epsilon**0.5)
        return error <= share * float(expected.norm()) + self._rounding


def _plain(gradient: torch.Tensor | None, parameter: torch.Tensor) -> Any:
    found = torch.zeros_like(parameter) if gradient is None else gradient.to_dense()
    return arrays.widened(found.detach().flatten())


def summed(block: GradientBlock, weights: torch.Tensor) -> torch.Tensor:
    """Σ weights[q, i] G_qi of a block (p,), without expanding it."""
    own: Any = block
    match block:
        case DenseBlock():
            return torch.einsum("qn,qnp->p", weights.to(own.values.dtype), own.values)
        case TiedBlock():
            return summed(block.table, weights) + summed(block.linear, weights)
        case IndexedBlock():
            rows = _mixed(block, weights).flatten(0, 1)
            used = own.ids.reshape(-1, 1)
            kept = (used >= 0).to(rows.dtype)  # padding has no row
            return scatter_add(rows, used.clamp(min=0), kept, block.rows).flatten()
        case FactoredBlock():
            g, a = _mixed(block, weights).flatten(0, 1), own.inputs.flatten(0, 1)
            product: torch.Tensor = a.mT @ g if block.transposed else g.mT @ a
            return product.flatten()
    total = weights.new_zeros(block.size)
    for start, values in own.chunks(2**20):
        total[start : start + values.shape[2]] = torch.einsum("qn,qnp->p", weights.to(values.dtype), values)
    return total


def _mixed(block: Any, weights: torch.Tensor) -> torch.Tensor:
    """The cotangents (n, t, b) of all functionals, weighted and added."""
    return torch.einsum("qn,qntb->ntb", weights.to(block.cotangents.dtype), block.cotangents)
