"""Whether a network is a fixed function of one input at a time, as a kernel needs."""

from typing import Any

import torch

from dntk import arrays
from dntk_torch.execution import Values, detached, run, without_graph
from dntk_torch.requirements import require_outputs

PROBES = 4
"""Inputs that are looked at before a result is believed."""


def examine(module: torch.nn.Module, x: torch.Tensor) -> int:
    """Number C of outputs, once the module proves a deterministic function of one input at a time.

    Raises
    ------
    ValueError
        It fails on ``x``, returns no (n, C) tensor, or its outputs vary from call to call or with
        the batch.
    """
    probe, values = x[:PROBES], detached(module)
    with without_graph(x.device):
        outputs = evaluate(module, values, probe)
        arrays.require_finite("the network's outputs", outputs)
        if not close(evaluate(module, values, probe), outputs):
            msg = (
                "the network gives other outputs at a second call on the same inputs, so that it "
                "is no fixed function: is dropout or noise active in its forward, as in "
                "F.dropout(x) without training=self.training?"
            )
            raise ValueError(msg)
        for row in {0, probe.shape[0] - 1} if probe.shape[0] > 1 else ():
            if not close(evaluate(module, values, probe[row : row + 1]), outputs[row : row + 1]):
                msg = (
                    "the network's output for an input depends on the rest of the batch (batch "
                    "dependence), so that its kernel is not defined: remove statistics, sorting "
                    "or attention across the batch axis."
                )
                raise ValueError(msg)
    return int(outputs.shape[1])


def evaluate(module: torch.nn.Module, values: Values, x: torch.Tensor) -> torch.Tensor:
    """Outputs (n, C), or a ``ValueError`` that says why not."""
    try:
        outputs = run(module, values, x)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, IndexError) as error:
        msg = f"the network fails on inputs of shape {tuple(x.shape)} and dtype {x.dtype}: {error}"
        raise ValueError(msg) from error
    require_outputs(outputs, x.shape[0])
    return outputs


def close(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal to rounding, relative to the largest entry."""
    return bool((left - right).abs().max() <= tolerance(right) * right.abs().max())


def tolerance(like: Any) -> float:
    """Half the digits of the dtype; accelerators may multiply float32 with ten bits (TF32)."""
    half: float = 3 * arrays.epsilon(like) ** 0.5
    exact = like.device.type == "cpu" or like.dtype == torch.float64
    return half if exact else max(half, 1e-2)
