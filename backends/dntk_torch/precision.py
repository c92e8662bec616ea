"""Networks of 16-bit numbers, or that use coarser ones than their own: what a check compares, and what runs."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dntk import arrays
from dntk.models import batches
from dntk.models.nests import mapped
from dntk.types import Batch
from dntk_torch.called import device_of
from dntk_torch.execution import detached, run, without_graph
from dntk_torch.per_sample import PerSample, by_loop, by_vmap
from dntk_torch.private_copy import private_copy


def in_single_precision(module: torch.nn.Module, x: Batch) -> tuple[torch.nn.Module, Batch]:
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
        wide, inputs = private_copy(module, own).module.float(), mapped(_in_float32, x)
        with without_graph(device_of(x)):
            run(wide, detached(wide), inputs)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # Any code of the user's may refuse in its own way.
        return module, x
    return wide, inputs


def _in_float32(part: torch.Tensor) -> torch.Tensor:
    return part.float() if part.is_floating_point() else part


class Coarsest(TorchDispatchMode):  # type: ignore[misc]
    """Notes the rounding of the coarsest floating-point numbers that operations make, of float32 at most.

    Such as the norms of language models, which are float32 in a network of float64. ``narrow`` is a type of 16 bits,
    where one was made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epsilon = 0.0
        self.narrow: torch.dtype | None = None

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        output = func(*args, **(kwargs or {}))
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            self.epsilon = max(self.epsilon, min(arrays.epsilon(output), torch.finfo(torch.float32).eps))
            if torch.finfo(output.dtype).bits < 32:
                self.narrow = output.dtype
        return output


def runnable(methods: dict[str, PerSample], module: torch.nn.Module, x: Batch, n_outputs: int) -> dict[str, PerSample]:
    """The methods, but plain autograd where one that holds for a wider copy fails in the network's own dtype."""
    names = [name for name, method in methods.items() if method is by_vmap]
    if not names:
        return methods
    try:
        by_vmap(module, names, x, torch.ones(2, batches.count(x), n_outputs, device=device_of(x)))
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # Any code of the user's may refuse in its own way.
        return {**methods, **dict.fromkeys(names, by_loop)}
    return methods
