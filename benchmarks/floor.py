"""The floor: what every way to gradients of all outputs has to do, by PyTorch alone."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def floor_of(net: nn.Module, x: torch.Tensor, functionals: torch.Tensor) -> Callable[[], None]:
    """One forward pass, and one backward pass per functional with respect to every layer's output.

    This yields all that kernels, features and predictions are made of, layer inputs and their cotangents, and no
    gradient of a parameter. Layers are modules with parameters of their own and no children. How many inputs go at
    once is the caller's: a floor is the best over batches.
    """
    net = copy.deepcopy(net).requires_grad_(False)
    outputs: list[torch.Tensor] = []

    def keep(_layer: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        # The layers next to the inputs have nothing else to differentiate.
        leaf = output if output.requires_grad else output.detach().requires_grad_()
        outputs.append(leaf)
        return leaf

    for layer in net.modules():
        if any(True for _ in layer.parameters(recurse=False)) and not any(True for _ in layer.children()):
            layer.register_forward_hook(keep)

    def work() -> None:
        outputs.clear()
        result = net(x)
        for u in functionals:
            torch.autograd.grad(result, outputs, u.expand_as(result), retain_graph=True)
        outputs.clear()

    return work


def in_batches(net: nn.Module, x: torch.Tensor, size: int) -> Callable[[], None]:
    """The floor of all outputs of ``x``, ``size`` inputs at once."""
    with torch.no_grad():
        functionals = torch.eye(net(x[:1]).shape[1], dtype=x.dtype)
    works = [floor_of(net, part, functionals) for part in x.split(size)]

    def work() -> None:
        for one in works:
            one()

    return work
