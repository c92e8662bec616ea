"""Derivatives of a module in its inputs, and what enters its layers."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from dntk import arrays
from dntk.ledger import count
from dntk.models import batches
from dntk.models.adapter import close, require_array
from dntk.models.input_gradients import Observed
from dntk.models.nests import is_nest
from dntk.types import Batch
from dntk_torch.behaviour import tolerance
from dntk_torch.called import cloned, device_of
from dntk_torch.counting import counted
from dntk_torch.execution import detached, differentiable, forward_mode, prepared, run, run_copy, transformable
from dntk_torch.private_copy import Values
from dntk_torch.requirements import BATCH_NORMS
from dntk_torch.undisturbed import undisturbed

InputGradient = Callable[[torch.nn.Module, tuple[str, ...], torch.Tensor, torch.Tensor, Values], torch.Tensor]
"""(module, parameter names, inputs (n, ...), cotangents (q, C), directions (n, q, *shape) by name) to (n, ...)."""

_CHANNELS_SECOND = (
    *BATCH_NORMS,
    torch.nn.GroupNorm,
    torch.nn.InstanceNorm1d,
    torch.nn.InstanceNorm2d,
    torch.nn.InstanceNorm3d,
    torch.nn.Conv1d,
    torch.nn.Conv2d,
    torch.nn.Conv3d,
)


def layer_of(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """The layer of a module's or a parameter's name; ``ValueError`` where there is none."""
    layers = dict(module.named_modules())
    owner = name.rpartition(".")[0] if name in dict(module.named_parameters()) else name
    if owner not in layers or not name:
        shown = ", ".join(list(layers)[1:9]) + (", ..." if len(layers) > 9 else "")
        msg = f"the network has no layer {name!r}; its layers are {shown}."
        raise ValueError(msg)
    return layers[owner]


def head_of(module: torch.nn.Module, x: Batch) -> str:
    """Name of the linear layer that is called last."""
    linear = {layer: name for name, layer in module.named_modules() if name and isinstance(layer, torch.nn.Linear)}
    called: list[str] = []

    def note(layer: torch.nn.Module, _: Any) -> None:
        called.append(linear[layer])

    with torch.no_grad():
        _run_hooked(module, batches.first(x), dict.fromkeys(linear, note))
    if not called:
        msg = "the network calls no torch.nn.Linear inside: name the layer whose inputs are the penultimate features."
        raise ValueError(msg)
    return called[-1]


def batch_norms_of(module: torch.nn.Module) -> tuple[str, ...]:
    """Names of batch normalisations."""
    return tuple(name for name, layer in module.named_modules() if isinstance(layer, BATCH_NORMS))


def observe(module: torch.nn.Module, x: Batch, names: tuple[str, ...]) -> Observed:
    """Outputs, and what enters the first call of each layer, with the way back to the inputs."""
    layers = {name: layer_of(module, name) for name in names}
    captured: dict[torch.nn.Module, torch.Tensor] = {}

    def keep(layer: torch.nn.Module, arguments: Any) -> None:
        if layer not in captured:
            # A copy: what comes after may overwrite the layer's input.
            captured[layer] = arguments[0].clone()

    with differentiable(device_of(x)):
        point = cloned(x)
        if not is_nest(x) and x.is_floating_point():
            point.requires_grad_(True)
        outputs = _run_hooked(module, point, dict.fromkeys(layers.values(), keep))
    for name, layer in layers.items():
        if layer not in captured:
            msg = f"the layer {name!r} is not called with a tensor in the network's forward: name another."
            raise ValueError(msg)
    kept = {name: captured[layer] for name, layer in layers.items()}

    def pull(out: Any, wanted: Mapping[str, Any]) -> Any:
        require_array(x, "x")
        cotangents = {name: _to_shape(value, kept[name], layers[name]) for name, value in wanted.items()}
        pairs = [(outputs, out), *((kept[name], cotangent) for name, cotangent in cotangents.items())]
        pairs = [(end, cotangent.to(end.dtype)) for end, cotangent in pairs if end.requires_grad]
        count(backward_passes=batches.count(x))
        with counted():
            return _gradient([end for end, _ in pairs], point, [cotangent for _, cotangent in pairs])

    shown: dict[str, Any] = {name: arrays.widened(_positions(kept[name], layers[name])) for name in names}
    outward: Any = arrays.widened(outputs.detach())
    return Observed(outputs=outward, inputs=shown, pull=pull)


def by_forward_mode(
    module: torch.nn.Module,
    names: tuple[str, ...],
    x: torch.Tensor,
    cotangents: torch.Tensor,
    directions: Values,
) -> torch.Tensor:
    """Forward mode along every point's own directions, differentiated backward, for all points at once."""
    values = dict(detached(module))
    chosen = {name: values.pop(name) for name in names}

    def along(point: torch.Tensor, tangents: Values) -> torch.Tensor:
        def outputs(some: Values) -> torch.Tensor:
            return run(module, {**values, **some}, point[None])[0]

        def pushed(direction: Values) -> torch.Tensor:
            return torch.func.jvp(outputs, (chosen,), (direction,))[1]

        # Functionals at once: the network itself is evaluated once for all of them.
        every = torch.func.vmap(pushed)(tangents)
        return (cotangents.to(every.dtype) * every).sum()

    with forward_mode(x.device):
        found: torch.Tensor = torch.func.vmap(torch.func.grad(along))(x.clone(), dict(directions))
    return found.detach()


def by_backward_mode(
    module: torch.nn.Module,
    names: tuple[str, ...],
    x: torch.Tensor,
    cotangents: torch.Tensor,
    directions: Values,
) -> torch.Tensor:
    """The gradient in the parameters, times the directions, differentiated again: one point after the other."""
    values = detached(module, names)
    chosen = [values[name] for name in names]
    rows = []
    with transformable(x.device):
        for i, point in enumerate(x.split(1)):
            leaf = point.detach().clone().requires_grad_(True)
            outputs = run(module, values, leaf)[0]
            total = outputs.new_zeros(())
            for q, functional in enumerate(cotangents):
                found = torch.autograd.grad(
                    outputs, chosen, functional.to(outputs.dtype), create_graph=True, allow_unused=True
                )
                for name, grad in zip(names, found, strict=True):
                    if grad is not None:
                        total = total + (grad * directions[name][i, q]).sum()
            rows.append(_gradient([total] if total.requires_grad else [], leaf, [torch.ones_like(total)]))
    return torch.cat(rows)


def agreeing(
    module: torch.nn.Module, names: tuple[str, ...], x: torch.Tensor, cotangents: torch.Tensor, directions: Values
) -> bool:
    """Whether forward mode runs, and gives what backward mode gives, for the first of the points."""
    first = {name: value[:1] for name, value in directions.items()}
    expected = by_backward_mode(module, names, x[:1], cotangents, first)
    try:
        found = by_forward_mode(module, names, x[:1], cotangents, first)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # Any code of the user's may refuse function transforms in its own way.
        return False
    return close(found, expected, tolerance(expected))


def _run_hooked(
    module: torch.nn.Module, x: Batch, hooks: Mapping[torch.nn.Module, Callable[..., None]]
) -> torch.Tensor:
    """Outputs; each layer's hook is given the layer and what enters its copy."""
    copy = prepared(module, detached(module))
    for layer, hook in hooks.items():
        watched = copy.of(layer)
        if watched is not None:
            watched.register_forward_pre_hook(_for(layer, hook))
    return run_copy(copy, x)


def _for(layer: torch.nn.Module, hook: Callable[..., None]) -> Callable[..., None]:
    return lambda _copy, arguments: hook(layer, arguments)


@undisturbed
def _gradient(ends: list[torch.Tensor], leaf: torch.Tensor, cotangents: list[torch.Tensor]) -> torch.Tensor:
    """Gradient in ``leaf``, zero where nothing depends on it."""
    if not ends:
        return torch.zeros_like(leaf)
    with differentiable(leaf.device):
        (found,) = torch.autograd.grad(ends, [leaf], cotangents, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found.detach()


def _positions(value: torch.Tensor, layer: torch.nn.Module) -> torch.Tensor:
    """What enters a layer as (n, positions, channels)."""
    value = value.detach()
    if value.ndim > 2 and isinstance(layer, _CHANNELS_SECOND):
        value = value.movedim(1, -1)
    return value.reshape(value.shape[0], -1, value.shape[-1])


def _to_shape(value: torch.Tensor, like: torch.Tensor, layer: torch.nn.Module) -> torch.Tensor:
    """The inverse of :func:`_positions`."""
    if like.ndim > 2 and isinstance(layer, _CHANNELS_SECOND):
        return value.reshape(like.movedim(1, -1).shape).movedim(-1, 1)
    return value.reshape(like.shape)
