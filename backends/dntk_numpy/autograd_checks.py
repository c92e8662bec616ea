"""What a function must be before its kernel means anything, and what its users are told."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from autograd.tracer import isbox

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.models.adapter import Framework, close, require_parameters
from dntk.models.base import select_names

FRAMEWORK = Framework(
    array=np.ndarray,
    array_name="a NumPy array",
    network="function",
    one_dtype="convert them to one with astype",
    fixed="does it draw random numbers, or change its parameters?",
    no_mixing="remove statistics, sorting or attention across the first axis",
    outputs_alone=(
        "return the outputs (n, C) alone, computed with autograd.numpy; for functions of JAX arrays pass JAX "
        "parameters, for PyTorch a torch.nn.Module"
    ),
    two_axes="pick or join axes",
    floating=(
        "return logits, not labels, and compute with autograd.numpy, as numpy's own functions cannot be differentiated"
    ),
)


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
    require_parameters(every, names, FRAMEWORK)
    for name in names:
        arrays.require_finite(f"the parameter {name}", every[name])
        if every[name].size == 0:
            msg = f"the parameter {name} is empty (shape {every[name].shape}): leave it out with `parameters`."
            raise ValueError(msg)
    return tuple(names)


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
        if np.any(expected) and alike(total, expected):
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


def alike(left: Any, right: Any) -> bool:
    """Equal to half the digits, relative to the largest entry."""
    return not isbox(left) and close(left, right, 3 * arrays.epsilon(right) ** 0.5)
