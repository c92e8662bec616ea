"""What a module's outputs depend on, and a cheap way to see that it changed."""

import types
import zlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch

_SETTINGS = (bool, int, float, str, type(None), torch.dtype, types.FunctionType, types.BuiltinFunctionType)
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def state_of(module: torch.nn.Module) -> Mapping[str, torch.Tensor]:
    """All parameters and persistent buffers by name; the module's own memory."""
    every = {**dict(module.named_parameters()), **_buffers(module, persistent=True)}
    return {name: value.detach() for name, value in every.items()}


def structure_of(module: torch.nn.Module) -> Hashable:
    """Kinds of all submodules, their hooks, and their settings: numbers, strings and functions among their attributes.

    With tensors that are no parameters, and buffers that are not persistent: such as caches, which may change without
    a change of the outputs.
    """
    caches = _buffers(module, persistent=False) | _loose(module)
    parts = tuple((name, type(part), _settings(part), _hooks(part)) for name, part in module.named_modules())
    return parts, tuple(caches), marks_of(list(caches.values()))


def _buffers(module: torch.nn.Module, *, persistent: bool) -> dict[str, torch.Tensor]:
    return {
        f"{prefix}.{name}" if prefix else name: value
        for prefix, part in module.named_modules()
        for name, value in part._buffers.items()
        if value is not None and (name not in part._non_persistent_buffers_set) is persistent
    }


def _loose(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Tensors that are plain attributes of a submodule, by name."""
    return {
        f"{prefix}.{name}": value
        for prefix, part in module.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, torch.Tensor)
    }


def _hooks(part: torch.nn.Module) -> Hashable:
    """Numbers of the hooks of a call, which PyTorch gives once in a process."""
    return tuple(part._forward_hooks), tuple(part._forward_pre_hooks)


def _settings(part: torch.nn.Module) -> Hashable:
    return tuple(
        (name, _plain(value))
        for name, value in vars(part).items()
        if not name.startswith("_") and name != "training" and _is_setting(value)
    )


def _is_setting(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str | int) for key in value) and _is_setting(list(value.values()))
    return isinstance(value, _SETTINGS) or (isinstance(value, tuple | list) and all(map(_is_setting, value)))


def _plain(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((key, _plain(item)) for key, item in value.items())
    return tuple(map(_plain, value)) if isinstance(value, tuple | list) else value


def marks_of(values: Sequence[torch.Tensor]) -> Hashable:
    """A token that differs where tensors changed: a CRC of their bytes on the CPU, elsewhere version and sum of words.

    PyTorch's version counters alone miss what is written through ``.data`` or NumPy.
    """
    return tuple(_mark(value.detach()) for value in values)


def _mark(value: torch.Tensor) -> Hashable:
    if value.layout != torch.strided or value.is_quantized:
        return id(value)
    if value.device.type == "cpu":
        return zlib.crc32(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return on_device(value)


def on_device(value: torch.Tensor) -> Hashable:
    """Address, version and sum of the words of a tensor, which tell any single change without a copy to the host."""
    version = 0 if value.is_inference() else value._version
    numbers = torch.view_as_real(value) if value.is_complex() else value
    words = numbers.contiguous().reshape(-1).view(_WORDS[numbers.element_size()])
    return value.data_ptr(), version, int(words.sum(dtype=torch.int64))
