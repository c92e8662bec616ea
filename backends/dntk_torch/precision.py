"""Networks of 16-bit numbers: what a check compares, and what runs."""

import torch

from dntk_torch.execution import detached, run, without_graph
from dntk_torch.per_sample import PerSample, by_loop, by_vmap
from dntk_torch.private_copy import private_copy


def in_single_precision(module: torch.nn.Module, x: torch.Tensor) -> tuple[torch.nn.Module, torch.Tensor]:
    """Copies in float32 of a 16-bit network and its inputs, so that checks of it have digits to compare.

    Others, and networks that cannot be copied or that run in their own dtype only, as they are.
    """
    parameter = next(module.parameters())
    if not parameter.is_floating_point() or torch.finfo(parameter.dtype).bits >= 32:
        return module, x
    try:
        own = {
            name: torch.nn.Parameter(value.detach(), requires_grad=value.requires_grad)
            for name, value in module.named_parameters()
        }
        wide, inputs = private_copy(module, own).module.float(), x.float() if x.is_floating_point() else x
        with without_graph(x.device):
            run(wide, detached(wide), inputs)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # Any code of the user's may refuse in its own way.
        return module, x
    return wide, inputs


def runnable(
    methods: dict[str, PerSample], module: torch.nn.Module, x: torch.Tensor, n_outputs: int
) -> dict[str, PerSample]:
    """The methods, but plain autograd where one that holds for a wider copy fails in the network's own dtype."""
    names = [name for name, method in methods.items() if method is by_vmap]
    if not names:
        return methods
    try:
        by_vmap(module, names, x, torch.ones(2, x.shape[0], n_outputs, device=x.device))
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # Any code of the user's may refuse in its own way.
        return {**methods, **dict.fromkeys(names, by_loop)}
    return methods
