"""What a module, its inputs and its outputs must be, said clearly where they are not."""

import re
from collections.abc import Iterable
from typing import Any

import torch

from dntk import arrays
from dntk.models.adapter import Framework, require_parameters
from dntk.models.base import select_names
from dntk_torch._unwrapped import unwrapped
from dntk_torch.execution import without_graph

FRAMEWORK = Framework(
    array=torch.Tensor,
    array_name="a tensor",
    errors=(RuntimeError, IndexError, ValueError),
    not_its_fault=(torch.OutOfMemoryError,),
    convert="it with {name}.to({dtype})",
    one_device="move it to one with net.to(device)",
    one_dtype="convert it, for example with net.float()",
    fixed="is dropout or noise active in its forward, as in F.dropout(x) without training=self.training?",
    no_mixing="remove statistics, sorting or attention across the batch axis",
    outputs_alone=(
        "say which part of it are the outputs, for example dntk.as_model(net, forward=lambda net, batch: net(batch)[0])"
    ),
    two_axes="pick or join axes, for example dntk.as_model(net, forward=lambda net, batch: net(batch)[:, -1])",
)

BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d, torch.nn.SyncBatchNorm)

TABLES = (torch.nn.Embedding, torch.nn.EmbeddingBag)


def usable_module(net: Any) -> torch.nn.Module:
    """The module itself, whose outputs must be a function of one input at a time."""
    if isinstance(net, torch.jit.ScriptModule):
        msg = "the network is a TorchScript module, whose layers cannot be observed: pass the original torch.nn.Module."
        raise TypeError(msg)
    if not isinstance(net, torch.nn.Module):
        msg = f"expected a torch.nn.Module, got {type(net).__name__}."
        raise TypeError(msg)
    module = unwrapped(net)
    require_initialised(module)
    require_evaluation_mode(module)
    for name, layer in module.named_modules():
        if isinstance(layer, BATCH_NORMS) and layer.running_mean is None:
            msg = (
                f"the layer {_shown(name)} ({type(layer).__name__}) has no running statistics, so "
                "that every output depends on the whole batch: build it with "
                "track_running_stats=True."
            )
            raise ValueError(msg)
    return module


def present(module: torch.nn.Module, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """All parameters by name; ``ValueError`` where one of ``names`` is no longer there."""
    every: dict[str, torch.Tensor] = dict(module.named_parameters())
    missing = [name for name in names if name not in every]
    if missing:
        msg = f"the network no longer has the parameter {missing[0]!r}: make the model again with dntk.as_model(net)."
        raise ValueError(msg)
    return every


def require_evaluation_mode(module: torch.nn.Module) -> None:
    """Raise ``ValueError`` where any submodule is in training mode, or parametrised weights are remembered."""
    if torch.nn.utils.parametrize._cache_enabled:
        msg = "parametrised weights are being cached, so that calls may see old ones: leave parametrize.cached() first."
        raise ValueError(msg)
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
    require_parameters(every, names, FRAMEWORK)
    with without_graph(every[names[0]].device):
        for name in names:
            arrays.require_finite(f"the parameter {name}", every[name].detach())
    return tuple(names)


def require_no_autocast(device: torch.device) -> None:
    """Raise ``ValueError`` within the caller's autocast: products of whole float32 numbers would be of 16 bits.

    Those of the network are kept out of it; those of its gradients with each other are dntk's own.
    """
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        msg = (
            "torch.autocast is on, which would round the products of gradients to 16 bits: call dntk outside of it, or "
            f"within torch.autocast({device.type!r}, enabled=False)."
        )
        raise ValueError(msg)


def require_gradients_are_derivatives(module: torch.nn.Module, names: tuple[str, ...]) -> None:
    """Raise ``ValueError`` for a selected table whose gradients torch rescales by counts."""
    for name, layer in _chosen_tables(module, names):
        if layer.scale_grad_by_freq:
            msg = (
                f"{name!r} has scale_grad_by_freq=True: torch then divides its gradient by counts in the batch, which "
                "is no derivative. Set the layer's scale_grad_by_freq to False (outputs stay the same)."
            )
            raise ValueError(msg)


def require_no_remembered_values(module: torch.nn.Module, idle: Iterable[str]) -> None:
    """Refuse parameters without influence in layers that keep tensors of their own making.

    In evaluation mode some layers compute a value from a parameter once and keep it: after a plain call of the network
    its kernel would lack those parameters, in silence. What they keep only until they train or move, as attention
    biases of LeViT and EfficientFormer in timm, a private copy makes anew.
    """
    for name in sorted(idle):
        layer = module.get_submodule(name.rpartition(".")[0])
        kept = [key for key, value in vars(layer).items() if key not in _REGISTRIES and _holds_values(value)]
        if kept:
            msg = (
                f"parameter {name!r} has no influence on the outputs, and its layer keeps tensors in `{kept[0]}`, "
                "probably made from it by an earlier call: empty that first, or leave the parameter out by "
                "as_model(net, parameters=...)."
            )
            raise ValueError(msg)


_REGISTRIES = ("_parameters", "_buffers", "_modules")


def _holds_values(value: Any) -> bool:
    """Whether an attribute is, or holds, a tensor of numbers that is no parameter."""
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and not isinstance(value, torch.nn.Parameter)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(_holds_values(part) for part in parts)


def has_padding_row(module: torch.nn.Module, names: tuple[str, ...]) -> bool:
    """Whether a selected table has a row to which torch gives no gradient."""
    return any(layer.padding_idx is not None for _, layer in _chosen_tables(module, names))


def _chosen_tables(module: torch.nn.Module, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Look-up layers whose tables are selected, with the tables' names."""
    chosen = {id(value): name for name, value in module.named_parameters() if name in names}
    tables = [layer for layer in module.modules() if isinstance(layer, TABLES)]
    return [(chosen[id(layer.weight)], layer) for layer in tables if id(layer.weight) in chosen]


def kinds_of_inputs(module: torch.nn.Module) -> tuple[str, ...]:
    """Kinds of dtypes that the network takes beside its own: integers, where it looks them up in a table."""
    return ("integral",) if any(isinstance(layer, TABLES) for layer in module.modules()) else ()


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


def _shown(name: str) -> str:
    return repr(name) if name else "the network itself"
