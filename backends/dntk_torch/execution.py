"""Runs a module as a pure function of its parameters, and leaves no trace in it or in any other thread.

Every run is that of a private copy of the module's structure. The caller's autograd, inference and autocast modes do
not reach the computation.
"""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any, TypeAlias

import torch

from dntk.models import batches
from dntk.types import Batch
from dntk_torch._single_input import SingleInput
from dntk_torch.called import cloned, device_of
from dntk_torch.plain_operations import Plain
from dntk_torch.private_copy import PrivateCopy, Values, private_copy
from dntk_torch.process_wide import quiet, without_cudnn
from dntk_torch.undisturbed import ForwardMode, OutOfAutocast, OutOfInference, Together

Block: TypeAlias = contextlib.AbstractContextManager[Any]

_FUSED = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer, torch.nn.TransformerEncoder)


def run(module: torch.nn.Module, parameters: Values, x: Batch) -> torch.Tensor:
    """Output of ``module`` with its parameters replaced by ``parameters``, on a copy of ``x``."""
    return run_copy(prepared(module, parameters), x)


def prepared(module: torch.nn.Module, parameters: Values) -> PrivateCopy:
    """A private copy of ``module`` with other parameters, whose layers do without what has no derivative."""
    copy = private_copy(module, parameters)
    for layer in copy.module.modules():
        if isinstance(layer, _FUSED):
            _without_fast_path(layer)
    return copy


def run_copy(copy: PrivateCopy, x: Batch) -> torch.Tensor:
    """Output of a private copy on a copy of ``x``."""
    recurrent = device_of(x).type == "cuda" and any(
        isinstance(part, torch.nn.RNNBase) for part in copy.module.modules()
    )
    single = SingleInput() if batches.count(x) == 1 else contextlib.nullcontext()
    with without_cudnn() if recurrent else contextlib.nullcontext(), single:
        # The copy keeps the caller's tensors intact where the first layer works in place.
        outputs: torch.Tensor = copy.module(cloned(x))
    return outputs


def detached(module: torch.nn.Module, differentiated: Iterator[str] | list[str] | tuple[str, ...] = ()) -> Values:
    """Parameters by name, cut off from any graph; those in ``differentiated`` require gradients."""
    wanted, copied = set(differentiated), _rewritten_in_forward(module)
    values = {}
    for name, parameter in module.named_parameters():
        value = parameter.detach()
        if id(parameter) in copied or value.is_inference():
            value = value.clone()
        values[name] = value.requires_grad_(name in wanted)
    return values


def differentiable(device: torch.device) -> Block:
    """Autograd on, whatever the caller switched off."""
    return Together(OutOfInference(), torch.enable_grad(), own_precision(device))


def without_graph(device: torch.device) -> Block:
    """As :func:`differentiable`, but recording nothing: the same function, evaluated only."""
    return Together(OutOfInference(), torch.no_grad(), own_precision(device))


def transformable(device: torch.device) -> Block:
    """As :func:`differentiable`, with attention by plain products for forward mode and vmap, and without warnings."""
    return Together(differentiable(device), Plain(), quiet())


def forward_mode(device: torch.device) -> Block:
    """As :func:`transformable`, for forward mode, one thread at a time."""
    return Together(ForwardMode(), transformable(device))


def own_precision(device: torch.device) -> Block:
    """The network's own dtype, also under a caller's autocast."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return OutOfAutocast(device.type)


def _without_fast_path(layer: torch.nn.Module) -> None:
    """Let a layer run under a mode of torch, where it does without fused operations, which have no derivative.

    Also where a checkpoint runs the layer again on the way back. PyTorch's own switch is that of the whole process.
    """
    own, found = vars(layer).get("forward"), weakref.ref(layer)

    def forward(*args: Any, **kwargs: Any) -> Any:
        with Plain(attention=False):
            return own(*args, **kwargs) if own is not None else type(layer_of()).forward(layer_of(), *args, **kwargs)

    def layer_of() -> Any:
        return found()  # no reference: the copy is gone with its last user, not with the next collection

    vars(layer)["forward"] = forward


def _rewritten_in_forward(module: torch.nn.Module) -> set[int]:
    """Identities of look-up tables that ``forward`` renormalises in place."""
    tables = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    return {id(m.weight) for m in module.modules() if isinstance(m, tables) and m.max_norm is not None}
