"""Which parameters have a gradient at some inputs: only there can forms of their gradients be compared."""

from collections.abc import Collection, Mapping

import torch

from dntk.models import batches
from dntk.models.adapter import showing
from dntk.models.nests import mapped
from dntk.types import Batch
from dntk_torch.behaviour import evaluated
from dntk_torch.called import cloned, device_of
from dntk_torch.execution import detached, differentiable
from dntk_torch.private_copy import Values

Gradients = Mapping[str, torch.Tensor | None]
"""Gradients by name, ``None`` where no way leads from the parameter to the outputs."""


def mixed_gradients(outputs: torch.Tensor, parameters: Values, cotangents: torch.Tensor) -> Gradients:
    """Gradients of a random mixture of all inputs' functionals (q, n, C), zero where each of these is.

    Cost: one backward pass to the parameters; none where no way leads there.
    """
    if not parameters or not outputs.requires_grad:
        return dict.fromkeys(parameters)
    generator = torch.Generator().manual_seed(23)
    weights = 0.5 + torch.rand(cotangents.shape[:2], generator=generator, dtype=torch.float64)
    mixed = torch.einsum("qn,qnc->nc", weights.to(cotangents), cotangents).to(outputs.dtype)
    found = torch.autograd.grad(outputs, list(parameters.values()), mixed, retain_graph=True, allow_unused=True)
    return dict(zip(parameters, found, strict=True))


def is_zero(gradient: torch.Tensor | None) -> bool:
    """Whether there is no gradient."""
    return gradient is None or not bool(gradient.to_dense().any())


def inputs_showing(module: torch.nn.Module, x: Batch, names: Collection[str], known: Batch) -> Batch:
    """Inputs that are ``known``, and few of ``x`` that have gradients of all ``names`` among them."""

    def shown(points: Batch) -> set[str]:
        values = detached(module, list(names))
        with differentiable(device_of(points)):
            outputs = evaluated(module, values, points)
            cotangents = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(24)).to(outputs)
            found = mixed_gradients(outputs, {name: values[name] for name in names}, cotangents[None])
        return {name for name, gradient in found.items() if not is_zero(gradient)}

    device = device_of(x)
    inputs = mapped(lambda part: torch.as_tensor(part, device=device), known)
    for position in showing(x, names, shown):
        inputs = batches.joined(inputs, batches.span(x, position, position + 1))
    return cloned(inputs)
