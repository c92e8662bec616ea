"""What a function must be before its kernel means anything, tried on a few inputs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from autograd.tracer import isbox

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.models.base import select_names

PROBES = 4
"""Inputs that are looked at before a result is believed."""

Evaluate = Callable[[Any], Any]
"""From inputs (n, ...) to outputs (n, C)."""


def examine(evaluate: Evaluate, x: Any) -> int:
    """Number C of outputs, once the function proves deterministic and to treat every input by itself.

    Raises
    ------
    ValueError
        It fails on ``x``, returns no (n, C) array of real floating-point numbers, or its outputs vary from call to
        call or with the batch.
    """
    probe = x[:PROBES]
    outputs = evaluate(probe)
    arrays.require_finite("the function's outputs", outputs)
    if not close(evaluate(probe), outputs):
        msg = (
            "the function gives other outputs at a second call on the same inputs, so that it is no fixed function: "
            "does it draw random numbers, or change its parameters?"
        )
        raise ValueError(msg)
    for row in {0, len(probe) - 1} if len(probe) > 1 else ():
        if not close(evaluate(probe[row : row + 1]), outputs[row : row + 1]):
            msg = (
                "the function's output for an input depends on the rest of the batch (batch dependence), so that its "
                "kernel is not defined: remove statistics, sorting or attention across the first axis."
            )
            raise ValueError(msg)
    return int(outputs.shape[1])


def selected_names(every: Mapping[str, Any], pattern: str | None) -> tuple[str, ...]:
    """Names to differentiate: all floating-point arrays, or all that ``pattern`` matches in full.

    Raises
    ------
    TypeError
        A selected array is not floating point.
    ValueError
        There is none, or selected arrays are empty, not finite, or of several dtypes.
    """
    floating = [name for name, value in every.items() if arrays.is_floating(value)]
    if pattern is None and not floating:
        msg = f"`params` holds no floating-point array among its {len(every)}: nothing can be differentiated."
        raise ValueError(msg)
    names = floating if pattern is None else select_names(list(every), pattern)
    for name in names:
        arrays.require_floating(f"the parameter {name}", every[name])
        arrays.require_finite(f"the parameter {name}", every[name])
        if every[name].size == 0:
            msg = f"the parameter {name} is empty (shape {every[name].shape}): leave it out with `parameters`."
            raise ValueError(msg)
    kinds = sorted({str(every[name].dtype) for name in names})
    if len(kinds) > 1:
        msg = f"the parameters have several dtypes ({', '.join(kinds)}): convert them to one with astype."
        raise ValueError(msg)
    return tuple(names)


def require_columns(name: str, value: Any, rows: int | None, columns: int, what: str) -> None:
    """Raise ``ValueError`` unless ``value`` has shape (rows, columns)."""
    if value.ndim != 2 or value.shape[1] != columns or (rows is not None and value.shape[0] != rows):
        first = "q" if rows is None else rows
        msg = f"`{name}` has shape {tuple(value.shape)}, expected ({first}, {columns}): one column per {what}."
        raise ValueError(msg)


def require_outputs(outputs: Any, n: int) -> None:
    """Raise ``ValueError`` unless ``outputs`` is a real floating-point NumPy array (n, C)."""
    if not isinstance(outputs, np.ndarray):
        kind = f"{type(outputs).__module__}.{type(outputs).__qualname__}"
        msg = (
            f"the function returns a {kind}, not a NumPy array: return the outputs (n, C) alone, computed with "
            "autograd.numpy. For functions of JAX arrays pass JAX parameters; for PyTorch pass a torch.nn.Module."
        )
        raise ValueError(msg)
    if outputs.ndim != 2 or outputs.shape[0] != n or outputs.shape[1] == 0:
        hint = ": end it with [:, None]" if outputs.shape == (n,) else ", one row of outputs per input"
        msg = f"the function returns shape {outputs.shape} for {n} inputs, expected (n, C){hint}."
        raise ValueError(msg)
    if not arrays.is_floating(outputs):
        msg = (
            f"the function's outputs have dtype {outputs.dtype}, not real floating point: return logits, not labels, "
            "and compute with autograd.numpy, as numpy's own functions cannot be differentiated."
        )
        raise ValueError(msg)


@contextlib.contextmanager
def differentiating() -> Iterator[None]:
    """Turns whatever a user's function raises on autograd's boxes into a ``ValueError`` that says what to do."""
    try:
        yield
    except MemoryError:
        raise
    except NotImplementedError as error:
        msg = f"an operation of the function has no derivative in autograd: {error}"
        raise ValueError(msg) from error
    except Exception as error:  # any code of the user may fail in its own way
        msg = (
            f"the function works on NumPy arrays but fails when it is differentiated ({error!r}): write it with "
            "autograd.numpy instead of numpy, without assignments to entries; functions of JAX arrays need JAX's."
        )
        raise ValueError(msg) from error


def require_influence(end: Any) -> None:
    """Raise ``ValueError`` where a forward pass left no trace of the parameters."""
    if end is None:
        msg = (
            "no selected parameter influences the outputs, so that there is no tangent kernel: is the function written "
            "with autograd.numpy, and does it use `params`?"
        )
        raise ValueError(msg)


def agreeing(blocks: Mapping[str, GradientBlock], weights: Any, gradients: Mapping[str, Any]) -> list[str]:
    """Names of blocks G (1, n, p) with Σ_i weights[i] G_i equal to the gradient, which is not zero.

    Equality for random weights is equality of every G_i with probability one.
    """
    names = []
    for name, block in blocks.items():
        total, expected = weights @ block.dense()[0], np.reshape(gradients[name], -1)
        if np.any(expected) and close(total, expected):
            names.append(name)
    return names


def require_agreement(blocks: Mapping[str, GradientBlock], weights: Any, gradients: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless all blocks add up to the gradient, be it zero."""
    agreed = agreeing(blocks, weights, gradients)
    wrong = [name for name in blocks if name not in agreed]
    wrong = [name for name in wrong if np.any(gradients[name]) or np.any(np.asarray(blocks[name].dense()))]
    if wrong:
        msg = (
            f"per-sample gradients in {', '.join(wrong[:4])} do not add up to autograd's gradient for the batch: an "
            "operation's derivative depends on the batch. Leave them out with `parameters`."
        )
        raise ValueError(msg)


def close(left: Any, right: Any) -> bool:
    """Equal to half the digits, relative to the largest entry."""
    if isbox(left) or left.shape != right.shape:
        return False
    bound = 3 * arrays.epsilon(right) ** 0.5 * np.max(np.abs(right), initial=0)
    return bool(np.max(np.abs(left - right), initial=0) <= bound)
