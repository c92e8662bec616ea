"""What a module, its inputs and its outputs must be, said clearly where they are not."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from dntk import arrays
from dntk.models.base import Model, check_placement, select_names
from dntk_torch.execution import without_graph

_BATCH_NORMS = (
    torch.nn.BatchNorm1d,
    torch.nn.BatchNorm2d,
    torch.nn.BatchNorm3d,
    torch.nn.SyncBatchNorm,
)


def usable_module(net: Any) -> torch.nn.Module:
    """The module itself, whose outputs must be a function of one input at a time."""
    if isinstance(net, torch.jit.ScriptModule):
        msg = "the network is a TorchScript module, whose layers cannot be observed: pass the original torch.nn.Module."
        raise TypeError(msg)
    if not isinstance(net, torch.nn.Module):
        msg = f"expected a torch.nn.Module, got {type(net).__name__}."
        raise TypeError(msg)
    module: torch.nn.Module = getattr(net, "_orig_mod", net)  # what torch.compile wraps
    require_initialised(module)
    require_evaluation_mode(module)
    for name, layer in module.named_modules():
        if isinstance(layer, _BATCH_NORMS) and layer.running_mean is None:
            msg = (
                f"the layer {_shown(name)} ({type(layer).__name__}) has no running statistics, so "
                "that every output depends on the whole batch: build it with "
                "track_running_stats=True."
            )
            raise ValueError(msg)
    return module


def require_evaluation_mode(module: torch.nn.Module) -> None:
    """Raise ``ValueError`` where any submodule is in training mode."""
    for name, layer in module.named_modules():
        if layer.training:
            msg = (
                f"the network is in training mode ({_shown(name)}, {type(layer).__name__}), where "
                "dropout and batch normalisation make it no fixed function: call net.eval() "
                "first."
            )
            raise ValueError(msg)


def require_initialised(module: torch.nn.Module) -> None:
    """Raise ``ValueError`` where a lazy layer has no shape yet, or parameters live nowhere."""
    lazy = torch.nn.parameter.UninitializedTensorMixin
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(value, lazy):
            msg = (
                f"{name!r} belongs to a lazy layer without a shape: run the network once on an input, then net.eval()."
            )
            raise ValueError(msg)
        if value.is_meta:
            msg = f"{name!r} is on the meta device and has no values: load the network's weights first."
            raise ValueError(msg)


def selected_names(module: torch.nn.Module, pattern: str | None) -> tuple[str, ...]:
    """Names to differentiate: all trainable ones, or all that ``pattern`` matches in full."""
    every = dict(module.named_parameters())
    if not every:
        msg = f"the network ({type(module).__name__}) has no parameters, so that it has no tangent kernel."
        raise ValueError(msg)
    trainable = [name for name, value in every.items() if value.requires_grad]
    if pattern is None and not trainable:
        msg = (
            f"none of the network's {len(every)} parameters requires gradients: choose some by "
            "name, for example "
            'parameters=".*" for all, or call net.requires_grad_(True).'
        )
        raise ValueError(msg)
    names = trainable if pattern is None else select_names(list(every), pattern)
    for name in names:
        arrays.require_floating(f"the parameter {name}", every[name])
        with without_graph(every[name].device):
            arrays.require_finite(f"the parameter {name}", every[name].detach())
    _require_one_place(every, names)
    return tuple(names)


def _require_one_place(every: Mapping[str, torch.Tensor], names: list[str]) -> None:
    places = {value.device for value in every.values()}
    kinds = {every[name].dtype for name in names}
    if len(places) > 1:
        shown = ", ".join(sorted(str(place) for place in places))
        msg = f"the network's parameters lie on several devices ({shown}): move it to one with net.to(device)."
        raise ValueError(msg)
    if len(kinds) > 1:
        shown = ", ".join(sorted(str(kind) for kind in kinds))
        msg = f"the network's parameters have several dtypes ({shown}): convert it, for example with net.float()."
        raise ValueError(msg)


def require_gradients_are_derivatives(module: torch.nn.Module, names: tuple[str, ...]) -> None:
    """Raise ``ValueError`` for a selected table whose gradients torch rescales by counts."""
    chosen = {id(value): name for name, value in module.named_parameters() if name in names}
    for layer in module.modules():
        if isinstance(layer, torch.nn.Embedding | torch.nn.EmbeddingBag) and layer.scale_grad_by_freq:
            name = chosen.get(id(layer.weight))
            if name is not None:
                msg = (
                    f"{name!r} has scale_grad_by_freq=True: torch then divides its gradient by "
                    "counts in the batch, which is no derivative. Set the layer's "
                    "scale_grad_by_freq to False (outputs stay the same)."
                )
                raise ValueError(msg)


def has_padding_row(module: torch.nn.Module, names: tuple[str, ...]) -> bool:
    """Whether a selected table has a row to which torch gives no gradient."""
    chosen = {id(value) for name, value in module.named_parameters() if name in names}
    tables = torch.nn.Embedding | torch.nn.EmbeddingBag
    return any(
        isinstance(layer, tables) and layer.padding_idx is not None and id(layer.weight) in chosen
        for layer in module.modules()
    )


def require_input(x: Any, model: Model, module: torch.nn.Module, name: str) -> None:
    """Raise unless ``x`` is a finite tensor of the network's device and dtype, or of ids."""
    check_placement(x, model, name)
    if not arrays.is_floating(x):
        integers = model.namespace.isdtype(x.dtype, "integral")
        tables = torch.nn.Embedding | torch.nn.EmbeddingBag
        if not (integers and any(isinstance(layer, tables) for layer in module.modules())):
            arrays.require_floating(name, x)
    elif x.dtype != model.dtype:
        msg = (
            f"`{name}` has dtype {x.dtype}, but the parameters have {model.dtype}: convert it "
            f"with {name}.to({model.dtype})."
        )
        raise TypeError(msg)


def require_outputs(outputs: Any, n: int) -> None:
    """Raise ``ValueError`` unless ``outputs`` is a floating-point tensor (n, C)."""
    if not isinstance(outputs, torch.Tensor):
        msg = (
            f"the network returns a {type(outputs).__name__}, not a tensor: wrap it in a module "
            "whose forward returns the outputs alone, for example `return self.net(x).logits`."
        )
        raise ValueError(msg)
    if outputs.ndim == 1 and outputs.shape[0] == n:
        msg = f"the network returns shape ({n},) for {n} inputs, expected (n, C): end its forward with .unsqueeze(-1)."
        raise ValueError(msg)
    if outputs.ndim != 2 or outputs.shape[0] != n or outputs.shape[1] == 0:
        msg = (
            f"the network returns shape {tuple(outputs.shape)} for {n} inputs, expected (n, C), "
            "one row of outputs per input: wrap it in a module that picks or joins axes, for "
            "example `return self.net(x)[:, -1]`."
        )
        raise ValueError(msg)
    if not outputs.dtype.is_floating_point:
        msg = f"the network's outputs have dtype {outputs.dtype}, which has no derivatives: return logits, not labels."
        raise ValueError(msg)


def with_owners(module: torch.nn.Module, names: list[str]) -> str:
    """Parameters with their modules, a few of many, and the selection that does without them.

    Of the form "`rnn.weight_ih_l0` of LSTM 'rnn'; leave them out with parameters=...".
    """
    owners = [name.rpartition(".")[0] for name in names]
    shown = [
        f"`{name}` of {type(module.get_submodule(owner)).__name__} {_shown(owner)}"
        for name, owner in zip(names[:4], owners[:4], strict=True)
    ]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    without = "|".join(re.escape(name) for name in names)
    return f'{", ".join(shown)}{more}; leave them out with parameters=r"(?!(?:{without})$).*"'


def require_shape(name: str, value: Any, rows: int | None, columns: int, what: str) -> None:
    """Raise ``ValueError`` unless ``value`` has shape (rows, columns)."""
    if value.ndim != 2 or value.shape[1] != columns or (rows is not None and value.shape[0] != rows):
        first = "q" if rows is None else rows
        msg = f"`{name}` has shape {tuple(value.shape)}, expected ({first}, {columns}): one column per {what}."
        raise ValueError(msg)


def _shown(name: str) -> str:
    return repr(name) if name else "the network itself"
