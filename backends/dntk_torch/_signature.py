"""What of a module's structure a remembered finding rests on."""

from collections.abc import Hashable

import torch


def signature(module: torch.nn.Module) -> Hashable:
    """Layers, shapes of parameters, hooks and modes, equal only as long as the user changes none of them."""
    layers = tuple(
        (name, id(layer), type(layer), tuple(layer._forward_hooks), tuple(layer._forward_pre_hooks), _modes(layer))
        for name, layer in module.named_modules()
    )
    return layers, tuple((name, value.shape) for name, value in module.named_parameters())


def _modes(layer: torch.nn.Module) -> Hashable:
    """Words and truth values among the attributes of a layer of the user's, by which its forward may choose."""
    if type(layer).__module__.startswith("torch."):
        return ()
    return tuple(
        (name, value)
        for name, value in vars(layer).items()
        if type(value) in (bool, str) and name != "training" and not name.startswith("_")
    )
