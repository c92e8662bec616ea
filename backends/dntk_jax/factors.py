"""Rules for operations that are linear in a parameter and have factored gradients: products, convolutions, look-ups.

A rule sees one use of a parameter, for one input of the network: an operation, the place at which it reads a view
of the parameter, and where the view's entries come from. It gives functions that bring the other operand and the
cotangent of the result into the form that a block of gradients wants.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dntk_jax.trace import Step
from dntk_jax.views import Layout, View


@dataclasses.dataclass(frozen=True, kw_only=True)
class Factored:
    """Block form of a weight: stored as (a, b) where ``transposed``, as (b, a) where not."""

    transposed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Indexed:
    """Block form of a table."""

    rows: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """Gradients as they are."""


Form = Factored | Indexed | Stored


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """How one use of a parameter gives both factors.

    ``other`` is the position of the operand that becomes the activations (t, a) or the ids (t,) by ``left``;
    ``right`` takes the cotangent of the result to (t, b).
    """

    form: Form
    other: int
    left: Callable[[Any], Any]
    right: Callable[[Any], Any]


def rule_of(step: Step, view: View, position: int) -> Rule | None:
    """Rule of a use, ``None`` where its gradient has no factored form."""
    found = _RULES.get(step.name)
    if found is None:
        return None
    places = view.layout()
    return found(step, places, position) if places.size == math.prod(view.shape) else None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Order:
    """Where rows and columns of the matrix of a use lie in the stored parameter."""

    transposed: bool
    inputs: Layout | None
    outputs: Layout | None


def _order(places: Layout) -> _Order | None:
    """Order of a matrix (a, b) of positions, ``None`` where the parameter is no matrix with permuted axes."""
    a, b = places.shape
    for transposed in (True, False):
        stride_a, stride_b = (b, 1) if transposed else (1, a)
        rows, columns = places[:, 0] // stride_a % a, places[0, :] // stride_b % b
        whole = _is_permutation(rows, a) and _is_permutation(columns, b)
        if whole and np.array_equal(places, rows[:, None] * stride_a + columns[None, :] * stride_b):
            return _Order(transposed=transposed, inputs=_inverse(rows), outputs=_inverse(columns))
    return None


def _is_permutation(values: Layout, size: int) -> bool:
    return bool(np.array_equal(np.sort(values), np.arange(size)))


def _inverse(order: Layout) -> Layout | None:
    """Inverse permutation, ``None`` for the identity."""
    return None if np.array_equal(order, np.arange(order.size)) else np.argsort(order)


def _permuted(values: Any, order: Layout | None) -> Any:
    return values if order is None else values[:, order]


def _product(step: Step, places: Layout, position: int) -> Rule | None:
    """Products: the contracted axes are the inputs' coordinates, all other axes of the operand positions."""
    contracted, batched = step.equation.params["dimension_numbers"]
    own, theirs = contracted[position], contracted[1 - position]
    a = math.prod(places.shape[axis] for axis in own)
    if any(batched) or a * (b := places.size // max(a, 1)) != places.size:
        return None
    free = [axis for axis in range(places.ndim) if axis not in own]
    order = _order(places.transpose(*own, *free).reshape(a, b))
    if order is None:
        return None
    shape = step.shape(1 - position)
    lead = [axis for axis in range(len(shape)) if axis not in theirs]
    t = math.prod(shape[axis] for axis in lead)

    def left(value: Any) -> Any:
        return _permuted(jnp.transpose(value, (*lead, *theirs)).reshape(t, a), order.inputs)

    def right(cotangent: Any) -> Any:
        matrix = cotangent.reshape(t, b) if position == 1 else cotangent.reshape(b, t).T
        return _permuted(matrix, order.outputs)

    return Rule(form=Factored(transposed=order.transposed), other=1 - position, left=left, right=right)


def _convolution(step: Step, places: Layout, position: int) -> Rule | None:
    """Convolutions: products with unfolded patches, whose coordinates are (channel, *window)."""
    params = step.equation.params
    if position != 1 or params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        return None
    numbers = params["dimension_numbers"]
    outputs, inputs, *window = numbers.rhs_spec
    batch, feature, *spatial = numbers.out_spec
    b = places.shape[outputs]
    order = _order(places.transpose(inputs, *window, outputs).reshape(-1, b))
    if order is None:
        return None

    def unfolded(value: Any) -> Any:
        return value.transpose(batch, *spatial, feature).reshape(-1, value.shape[feature])

    def left(value: Any) -> Any:
        patches = jax.lax.conv_general_dilated_patches(
            value,
            filter_shape=[places.shape[axis] for axis in window],
            window_strides=params["window_strides"],
            padding=params["padding"],
            lhs_dilation=params["lhs_dilation"],
            rhs_dilation=params["rhs_dilation"],
            dimension_numbers=numbers,
            precision=jax.lax.Precision.HIGHEST,
        )
        return _permuted(unfolded(patches), order.inputs)

    def right(cotangent: Any) -> Any:
        return _permuted(unfolded(cotangent), order.outputs)

    return Rule(form=Factored(transposed=order.transposed), other=0, left=left, right=right)


def _look_up(step: Step, places: Layout, position: int) -> Rule | None:
    """Whole rows of a table, by ids; ids out of bounds name no row, unless the operation moves them to the border."""
    params = step.equation.params
    numbers, rows = params["dimension_numbers"], places.shape[0]
    whole_rows = (
        position == 0
        and tuple(numbers.start_index_map) == tuple(numbers.collapsed_slice_dims) == (0,)
        and not numbers.operand_batching_dims
        and tuple(params["slice_sizes"]) == (1, *places.shape[1:])
    )
    if not whole_rows or not np.array_equal(places.reshape(-1), np.arange(places.size)):
        return None
    clipped = params["mode"] == jax.lax.GatherScatterMode.CLIP

    def left(ids: Any) -> Any:
        flat = ids.reshape(-1).astype(jnp.int32)
        return jnp.clip(flat, 0, rows - 1) if clipped else jnp.where((flat >= 0) & (flat < rows), flat, -1)

    def right(cotangent: Any) -> Any:
        offsets = tuple(numbers.offset_dims)
        lead = [axis for axis in range(cotangent.ndim) if axis not in offsets]
        return cotangent.transpose(*lead, *offsets).reshape(-1, places.size // rows)

    return Rule(form=Indexed(rows=rows), other=1, left=left, right=right)


_RULES: dict[str, Callable[[Step, Layout, int], Rule | None]] = {
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "gather": _look_up,
}
