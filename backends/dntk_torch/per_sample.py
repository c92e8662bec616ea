"""Derivatives of any module: per-sample gradients, and products with the Jacobian."""

from collections.abc import Callable

import torch

from dntk_torch.execution import detached, differentiable, forward_mode, run, transformable
from dntk_torch.private_copy import Values

PerSample = Callable[[torch.nn.Module, list[str], torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
"""(module, parameter names, inputs (n, ...), cotangents (q, n, C)) to gradients (q, n, p) by name."""

Push = Callable[[torch.nn.Module, Values, torch.Tensor], torch.Tensor]
"""(module, parameter tangents (q, *shape) by name, inputs) to output tangents (q, n, C)."""


def by_vmap(
    module: torch.nn.Module, names: list[str], x: torch.Tensor, cotangents: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Per-sample gradients by ``torch.func``, all inputs at once, one cotangent after the other.

    A second ``vmap`` over cotangents would be faster, but fails for some layers (PyTorch 2.13:
    instance norm, adaptive pooling).
    """
    values = dict(detached(module))
    chosen = {name: values.pop(name) for name in names}

    def one(point: torch.Tensor, functionals: torch.Tensor) -> Values:
        def outputs(some: Values) -> torch.Tensor:
            return run(module, {**values, **some}, point[None])[0]

        primal, pull = torch.func.vjp(outputs, chosen)
        rows = [pull(u)[0] for u in functionals.to(primal.dtype)]
        return {name: torch.stack([row[name].flatten() for row in rows]) for name in names}

    with transformable(x.device):
        gradients = torch.func.vmap(one, (0, 1))(x.clone(), cotangents.clone())
    return {name: gradients[name].detach().movedim(0, 1) for name in names}


def by_loop(
    module: torch.nn.Module, names: list[str], x: torch.Tensor, cotangents: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Per-sample gradients by one backward pass per input and cotangent."""
    values = detached(module, names)
    chosen = [values[name] for name in names]
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    with differentiable(x.device):
        for point, functionals in zip(x.split(1), cotangents.split(1, dim=1), strict=True):
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


def push_forward(module: torch.nn.Module, tangents: Values, x: torch.Tensor) -> torch.Tensor:
    """Derivatives (q, n, C) of the outputs along tangents (q, *shape), by forward mode."""
    values = dict(detached(module))
    chosen = {name: values.pop(name) for name in tangents}

    def outputs(some: Values) -> torch.Tensor:
        return run(module, {**values, **some}, x)

    count = next(iter(tangents.values())).shape[0]
    derivatives = []
    with forward_mode(x.device):
        for q in range(count):
            direction = {name: tangent[q] for name, tangent in tangents.items()}
            derivatives.append(torch.func.jvp(outputs, (chosen,), (direction,))[1].detach())
    return torch.stack(derivatives)


def push_forward_twice_backward(module: torch.nn.Module, tangents: Values, x: torch.Tensor) -> torch.Tensor:
    """As :func:`push_forward` where an operation lacks forward mode.

    The gradient Jᵀ v is linear in v, so its own transposed derivative along a tangent τ is J τ.
    """
    values = detached(module, list(tangents))
    with transformable(x.device):
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
