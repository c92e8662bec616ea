"""What of a module's structure a remembered finding rests on."""

from collections.abc import Hashable

import torch


def signature(module: torch.nn.Module) -> Hashable:
    """Layers, shapes of parameters and hooks, equal only as long as the user changes none of them."""
    layers = tuple(
        (name, id(layer), type(layer), tuple(layer._forward_hooks), tuple(layer._forward_pre_hooks))
        for name, layer in module.named_modules()
    )
    return layers, tuple((name, value.shape) for name, value in module.named_parameters())
