"""Whether a network is a fixed function of one input at a time, as a kernel needs."""

import functools
from typing import Any

import torch

from dntk import arrays
from dntk.models.adapter import close, evaluate, examine, require_own_rows
from dntk.types import Batch
from dntk_torch.called import device_of
from dntk_torch.execution import detached, run, without_graph
from dntk_torch.private_copy import Values
from dntk_torch.requirements import FRAMEWORK


def examined(module: torch.nn.Module, x: Batch) -> int:
    """Number C of outputs, once the module proves a deterministic function of one input at a time.

    Raises
    ------
    ValueError
        It fails on ``x``, returns no (n, C) tensor, or its outputs vary from call to call or with
        the batch.
    """
    values = detached(module)
    with without_graph(device_of(x)):
        return examine(
            lambda points: evaluated(module, values, points), x, FRAMEWORK, agree=functools.partial(_agree, values)
        )


def require_own_outputs(module: torch.nn.Module, x: Batch, outputs: torch.Tensor) -> None:
    """Raise ``ValueError`` where the outputs that a large batch gave its last inputs are not their own."""
    values = detached(module)
    with without_graph(device_of(x)):
        require_own_rows(
            lambda points: evaluated(module, values, points),
            x,
            outputs,
            FRAMEWORK,
            agree=functools.partial(_agree, values),
        )


def _agree(values: Values, left: Any, right: Any) -> bool:
    # Logits may be wider than the numbers that they were computed with.
    coarsest = [tolerance(value) for value in values.values() if value.is_floating_point()]
    return close(left, right, max(tolerance(right), *coarsest))


def evaluated(module: torch.nn.Module, values: Values, x: Any) -> torch.Tensor:
    """Outputs (n, C), or a ``ValueError`` that says why not."""
    return evaluate(lambda points: run(module, values, points), x, FRAMEWORK)


def tolerance(like: Any) -> float:
    """Half the digits of the dtype; accelerators may multiply float32 with ten bits (TF32)."""
    half: float = 3 * arrays.epsilon(like) ** 0.5
    exact = like.device.type == "cpu" or like.dtype == torch.float64
    return half if exact else max(half, 1e-2)
