"""A mode of torch under which fused operations run as what they are made of."""

import itertools
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from dntk_torch.undisturbed import Mode


class Plain(Mode):
    """Attention as products and a softmax, which all transforms of functions can differentiate.

    PyTorch's fused transformer layers, which have no derivative, look for modes and do not run under any; without
    ``attention`` that is all. Modes belong to a thread, unlike PyTorch's own switches.
    """

    def __init__(self, *, attention: bool = True) -> None:
        self._attention = attention

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch, or what it is made of."""
        kwargs = kwargs or {}
        if self._attention and func in OPENED:
            with self:
                return OPENED[func](*args, **kwargs)
        if self._attention and func is functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    found: torch.Tensor = torch.ops.aten._scaled_dot_product_attention_math.default(
        query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa
    )[0]
    return found


def _opened(function: Any) -> Callable[..., Any]:
    """A function of torch written in Python, without the question that hides what it calls from modes."""
    names = {**function.__globals__, "has_torch_function": lambda _tensors: False}
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _by_groups(
    input: torch.Tensor,
    mat2: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Rows in groups, each times a matrix of its own, as those of experts; other products of groups as they are."""
    if offs is None or input.ndim != 2 or mat2.ndim != 3 or bias is not None:
        with torch._C.DisableTorchFunction():
            return torch._grouped_mm(input, mat2, offs, bias, out_dtype)
    ends = [0, *offs.tolist()]
    groups = [input[start:end] @ mat2[i] for i, (start, end) in enumerate(itertools.pairwise(ends))]
    behind = input.new_zeros((input.shape[0] - ends[-1], mat2.shape[2]))
    return torch.cat([*groups, behind]).to(input.dtype if out_dtype is None else out_dtype)


OPENED: Mapping[Any, Callable[..., Any]] = {
    getattr(torch, "_grouped_mm", None): _by_groups,
    functional.multi_head_attention_forward: _opened(functional.multi_head_attention_forward),
}
"""Functions whose calls of others modes must see, in a form in which they do."""


def opened_attention(func: Any) -> Callable[..., torch.Tensor] | None:
    """Attention as products, a sum and a softmax, for modes that must see the sum with the mask."""
    return _products_of_attention if func is functional.scaled_dot_product_attention else None


def _products_of_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    if attn_mask is None or attn_mask.dtype == torch.bool:
        return _attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.mT
    return torch.softmax(scores + attn_mask, -1) @ value
