"""Runs a module as a pure function of its parameters, and leaves no trace in it.

Parameters are passed through ``torch.func.functional_call``; buffers are copies; attributes that
``forward`` sets (caches, stored attention maps) are put back afterwards. The caller's autograd,
inference and autocast modes do not reach the computation.
"""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

Values = Mapping[str, torch.Tensor]


def run(module: torch.nn.Module, parameters: Values, x: torch.Tensor) -> torch.Tensor:
    """Output of ``module`` with its parameters replaced by ``parameters``, on a copy of ``x``."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    with _unchanged(module), _recurrence(module):
        # The copy keeps the caller's tensor intact where the first layer works in place.
        return torch.func.functional_call(module, {**parameters, **buffers}, (x.clone(),))


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


@contextlib.contextmanager
def differentiable(device: torch.device) -> Iterator[None]:
    """Autograd on, whatever the caller switched off; fused layers without derivative off."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        own_precision(device),
        _no_fused_layers(),
    ):
        yield


@contextlib.contextmanager
def without_graph(device: torch.device) -> Iterator[None]:
    """As :func:`differentiable`, but recording nothing: the same function, evaluated only."""
    with torch.inference_mode(False), torch.no_grad(), own_precision(device), _no_fused_layers():
        yield


@contextlib.contextmanager
def transformable(device: torch.device) -> Iterator[None]:
    """As :func:`differentiable`, with attention by plain products for forward mode and vmap."""
    with differentiable(device), sdpa_kernel(SDPBackend.MATH):
        yield


def own_precision(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The network's own dtype, also under a caller's autocast."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


@contextlib.contextmanager
def _no_fused_layers() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _recurrence(module: torch.nn.Module) -> contextlib.AbstractContextManager[None]:
    """Recurrent layers in PyTorch's own code, as that of cuDNN has no derivative in evaluation mode."""
    if not any(isinstance(part, torch.nn.RNNBase) for part in module.modules()):
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=False)


@contextlib.contextmanager
def _unchanged(module: torch.nn.Module) -> Iterator[None]:
    """Put attributes and buffer tables of every submodule back on leaving."""
    before = [(part, dict(vars(part)), dict(part._buffers)) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes, buffers in before:
            vars(part).clear()
            vars(part).update(attributes)
            part._buffers.clear()
            part._buffers.update(buffers)


def _rewritten_in_forward(module: torch.nn.Module) -> set[int]:
    """Identities of look-up tables that ``forward`` renormalises in place."""
    tables = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    return {id(m.weight) for m in module.modules() if isinstance(m, tables) and m.max_norm is not None}
