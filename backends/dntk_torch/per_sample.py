"""Derivatives of any module: per-sample gradients, and products with the Jacobian."""

from collections.abc import Callable
from typing import Any

import torch

from dntk.models.nests import mapped
from dntk.types import Batch
from dntk_torch.called import cloned, device_of, one_by_one
from dntk_torch.execution import detached, differentiable, forward_mode, run, transformable
from dntk_torch.private_copy import Values

PerSample = Callable[[torch.nn.Module, list[str], Batch, torch.Tensor], dict[str, torch.Tensor]]
"""(module, parameter names, inputs (n, ...), cotangents (q, n, C)) to gradients (q, n, p) by name."""

Push = Callable[[torch.nn.Module, Values, Batch], torch.Tensor]
"""(module, parameter tangents (q, *shape) by name, inputs) to output tangents (q, n, C)."""


def by_vmap(module: torch.nn.Module, names: list[str], x: Batch, cotangents: torch.Tensor) -> dict[str, torch.Tensor]:
    """Per-sample gradients by ``torch.func``, all inputs at once, one cotangent after the other.

    A second ``vmap`` over cotangents would be faster, but fails for some layers (PyTorch 2.13:
    instance norm, adaptive pooling).
    """
    values = dict(detached(module))
    chosen = {name: values.pop(name) for name in names}

    def one(point: Batch, functionals: torch.Tensor) -> Values:
        def outputs(some: Values) -> torch.Tensor:
            return run(module, {**values, **some}, mapped(lambda part: part[None], point))[0]

        primal, pull = torch.func.vjp(outputs, chosen)
        rows = [pull(u)[0] for u in functionals.to(primal.dtype)]
        return {name: torch.stack([row[name].flatten() for row in rows]) for name in names}

    with transformable(device_of(x)):
        gradients = torch.func.vmap(one, (0, 1))(cloned(x), cotangents.clone())
    return {name: gradients[name].detach().movedim(0, 1) for name in names}


def by_loop(module: torch.nn.Module, names: list[str], x: Batch, cotangents: torch.Tensor) -> dict[str, torch.Tensor]:
    """Per-sample gradients by one backward pass per input and cotangent."""
    values = detached(module, names)
    chosen = [values[name] for name in names]
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    with differentiable(device_of(x)):
        for point, functionals in zip(one_by_one(x), cotangents.split(1, dim=1), strict=True):
            outputs = run(module, values, point)
            per_cotangent = [gradient(outputs, chosen, u.to(outputs.dtype)) for u in functionals]
            for position, name in enumerate(names):
                rows[name].append(torch.stack([found[position].flatten() for found in per_cotangent]))
    return {name: torch.stack(rows[name], dim=1) for name in names}


def gradient(outputs: torch.Tensor, parameters: list[torch.Tensor], cotangents: torch.Tensor) -> list[torch.Tensor]:
    """Dense gradients of Σ ⟨cotangents, outputs⟩, zero without influence; keeps the graph."""
    if not outputs.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    found = torch.autograd.grad(outputs, parameters, cotangents, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(parameter) if grad is None else grad.to_dense().detach()
        for parameter, grad in zip(parameters, found, strict=True)
    ]


def unreached(outputs: torch.Tensor, parameters: Values) -> frozenset[str]:
    """Names of parameters from which no way leads to the outputs. Cost: none, but a backward pass to the others."""
    found = torch.autograd.grad(
        outputs, list(parameters.values()), torch.zeros_like(outputs), retain_graph=True, allow_unused=True
    )
    return frozenset(name for name, grad in zip(parameters, found, strict=True) if grad is None)


def gradients_of(
    module: torch.nn.Module, names: tuple[str, ...], x: Batch, cotangents: list[Any]
) -> list[list[torch.Tensor]]:
    """Gradients of some parameters for every batch of cotangents (n, C), after one forward pass."""
    values = detached(module, names)
    with differentiable(device_of(x)):
        outputs = run(module, values, x)
        chosen = [values[name] for name in names]
        weights = [torch.as_tensor(each, dtype=outputs.dtype).detach() for each in cotangents]
        return [gradient(outputs, chosen, each) for each in weights]


def push_forward(module: torch.nn.Module, tangents: Values, x: Batch) -> torch.Tensor:
    """Derivatives (q, n, C) of the outputs along tangents (q, *shape), by forward mode."""
    values = dict(detached(module))
    chosen = {name: values.pop(name) for name in tangents}

    def outputs(some: Values) -> torch.Tensor:
        return run(module, {**values, **some}, x)

    count = next(iter(tangents.values())).shape[0]
    derivatives = []
    with forward_mode(device_of(x)):
        for q in range(count):
            direction = {name: tangent[q] for name, tangent in tangents.items()}
            derivatives.append(torch.func.jvp(outputs, (chosen,), (direction,))[1].detach())
    return torch.stack(derivatives)


def push_forward_twice_backward(module: torch.nn.Module, tangents: Values, x: Batch) -> torch.Tensor:
    """As :func:`push_forward` where an operation lacks forward mode.

    The gradient Jᵀ v is linear in v, so its own transposed derivative along a tangent τ is J τ.
    """
    values = detached(module, list(tangents))
    with transformable(device_of(x)):
        outputs = run(module, values, x)
        v = torch.zeros_like(outputs, requires_grad=True)
        chosen = [values[name] for name in tangents]
        pulled = torch.autograd.grad(outputs, chosen, v, create_graph=True, allow_unused=True)
        derivatives = []
        for q in range(next(iter(tangents.values())).shape[0]):
            terms = [
                (grad * tangent[q].clone()).sum()  # a normal tensor, also of an inference one
                for grad, tangent in zip(pulled, tangents.values(), strict=True)
                if grad is not None and grad.requires_grad
            ]
            found = torch.autograd.grad(sum(terms), v, retain_graph=True)[0] if terms else 0 * v
            derivatives.append(found.detach())
    return torch.stack(derivatives)
