"""Functions of torch whose parameters have rules, called outside of the layers that usually call them.

For each function there is a reader of its arguments, which tells the input and, for every argument
that may be a parameter, the rule of its gradient and what the rule needs to know. A reader returns
``None`` for calls without a closed form.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

from dntk.gradient_blocks import GradientBlock
from dntk_torch.layers import Rule
from dntk_torch.layers.broadcasting import added, multiplied, tiled
from dntk_torch.layers.convolution import channel_bias, convolution_weight, transposed_weight
from dntk_torch.layers.linear import linear_bias, linear_weight, table
from dntk_torch.layers.normalisation import (
    batch_norm_weight,
    group_norm_weight,
    layer_norm_weight,
    position_bias,
    rms_norm_weight,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Argument:
    """An argument that may be a parameter, stored in the order in which ``value`` is contiguous.

    ``ordered`` as in :class:`dntk_torch.calls.Use`.
    """

    value: Any
    rule: Rule
    layer: Any = None
    feature_axes: int | None = None
    ordered: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Read:
    """A call as its reader understands it."""

    input: torch.Tensor
    arguments: Iterable[Argument]


Reader = Callable[..., Read | None]
"""(output, *arguments of the function) to what the call does."""


def _linear(_output: Any, input: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> Read | None:
    if input.ndim < 2 or weight.ndim != 2:
        return None
    shift = Argument(value=bias, rule=linear_bias, feature_axes=1)
    return Read(input=input, arguments=(_matrix(weight), shift))


def _matmul(_output: Any, input: torch.Tensor, other: torch.Tensor) -> Read | None:
    if input.ndim < 2 or other.ndim != 2:
        return None
    return Read(input=input, arguments=(_matrix(other.mT),))


def _addmm(_output: Any, input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Read | None:
    if (beta, alpha) != (1, 1) or input.ndim != 1:
        return None
    shift = Argument(value=input, rule=linear_bias, feature_axes=1)
    return Read(input=mat1, arguments=(_matrix(mat2.mT), shift))


def _matrix(weight: torch.Tensor) -> Argument:
    """The weight (b, a) of y = W x, in memory so or transposed."""
    if weight.is_contiguous():
        return Argument(value=weight, rule=linear_weight, feature_axes=1)
    return Argument(value=weight.mT, rule=_stored_transposed, feature_axes=1)


def _stored_transposed(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    block: Any = linear_weight(layer, a, g, name)
    return dataclasses.replace(block, transposed=True)


def _embedding(
    _output: Any,
    input: torch.Tensor,
    weight: torch.Tensor,
    padding_idx: int | None = None,
    max_norm: Any = None,
    norm_type: Any = 2.0,  # noqa: ARG001
    scale_grad_by_freq: bool = False,
    sparse: bool = False,  # noqa: ARG001
) -> Read | None:
    if max_norm is not None or scale_grad_by_freq:
        return None
    rows = weight.shape[0]
    layer = SimpleNamespace(num_embeddings=rows, padding_idx=None if padding_idx is None else padding_idx % rows)
    return Read(input=input, arguments=(Argument(value=weight, rule=table, layer=layer, feature_axes=0),))


def _convolution(dimensions: int, *, transposed: bool) -> Reader:
    def read(
        _output: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Read | None:
        if input.ndim != 2 + dimensions:
            return None

        def spread(size: Any) -> Any:
            return (size,) * dimensions if isinstance(size, int) else tuple(size) * (dimensions // len(size))

        layer = SimpleNamespace(
            kernel_size=tuple(weight.shape[2:]),
            stride=spread(stride),
            padding=padding if isinstance(padding, str) else spread(padding),
            dilation=spread(dilation),
            groups=groups,
            padding_mode="zeros",
        )
        rule = transposed_weight if transposed else convolution_weight
        arguments = Argument(value=weight, rule=rule, layer=layer), Argument(value=bias, rule=channel_bias)
        return Read(input=input, arguments=arguments)

    def read_transposed(
        output: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,  # noqa: ARG001
        groups: int = 1,
        dilation: Any = 1,
    ) -> Read | None:
        return read(output, input, weight, bias, stride, padding, dilation, groups)

    return read_transposed if transposed else read


def _layer_norm(
    _output: Any,
    input: torch.Tensor,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Read:
    layer, axes = SimpleNamespace(normalized_shape=tuple(normalized_shape), eps=eps), len(normalized_shape)
    scale = Argument(value=weight, rule=layer_norm_weight, layer=layer, feature_axes=axes)
    shift = Argument(value=bias, rule=position_bias, layer=layer, feature_axes=axes)
    return Read(input=input, arguments=(scale, shift))


def _rms_norm(
    _output: Any,
    input: torch.Tensor,
    normalized_shape: Any,
    weight: Any = None,
    eps: float | None = None,
) -> Read:
    layer, axes = SimpleNamespace(normalized_shape=tuple(normalized_shape), eps=eps), len(normalized_shape)
    scale = Argument(value=weight, rule=rms_norm_weight, layer=layer, feature_axes=axes)
    return Read(input=input, arguments=(scale,))


def _group_norm(
    _output: Any,
    input: torch.Tensor,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Read:
    layer = SimpleNamespace(num_groups=num_groups, eps=eps)
    scale = Argument(value=weight, rule=group_norm_weight, layer=layer)
    return Read(input=input, arguments=(scale, Argument(value=bias, rule=channel_bias)))


def _batch_norm(
    _output: Any,
    input: torch.Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> Read | None:
    if training or running_mean is None or running_var is None:
        return None
    layer = SimpleNamespace(running_mean=running_mean, running_var=running_var, eps=eps)
    scale = Argument(value=weight, rule=batch_norm_weight, layer=layer)
    return Read(input=input, arguments=(scale, Argument(value=bias, rule=channel_bias)))


def _multiply_and_add(_output: Any, input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Read | None:
    both = _multiply(_output, tensor1, tensor2)
    if value != 1 or both is None:
        return None
    return Read(input=both.input, arguments=(*both.arguments, _broadcast(input, added)))


def _add(output: torch.Tensor, input: Any, other: Any, *, alpha: Any = 1) -> Read | None:
    if alpha != 1:
        return None
    return Read(input=_nothing(output), arguments=(_broadcast(input, added), _broadcast(other, added)))


def _repeated(output: torch.Tensor, input: torch.Tensor, *_sizes: Any) -> Read:
    end_to_end = output.ndim == input.ndim and input.shape[0] > 1 and output.shape[1:] == input.shape[1:]
    argument = _broadcast(input, added)
    if end_to_end:
        argument = dataclasses.replace(argument, rule=tiled, feature_axes=input.ndim - 1, ordered=True)
    return Read(input=_nothing(output), arguments=(argument,))


def _multiply(output: torch.Tensor, input: Any, other: Any) -> Read | None:
    both = [value for value in (input, other) if isinstance(value, torch.Tensor)]
    if len(both) < 2:
        return None
    # The parameter is the leaf, or the smaller one of two: what is multiplied has a batch.
    factor, values = sorted(both, key=lambda value: (not _is_parameter(value), value.numel(), value.ndim))
    return Read(input=values.expand(output.shape), arguments=(_broadcast(factor, multiplied),))


def _is_parameter(value: torch.Tensor) -> bool:
    owner = value if value._base is None else value._base
    return bool(owner.is_leaf and owner.requires_grad)


def _broadcast(value: Any, rule: Rule) -> Argument:
    """A parameter that is repeated along the axes where it has length one or none."""
    shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
    while shape and shape[0] == 1:
        shape = shape[1:]
    return Argument(value=value, rule=rule, layer=SimpleNamespace(shape=shape), feature_axes=len(shape))


def _nothing(output: torch.Tensor) -> torch.Tensor:
    """In place of an input that no rule reads, of its shape and without memory."""
    return output.new_empty(()).expand(output.shape)


OPERATIONS: Mapping[Any, Reader] = {
    functional.linear: _linear,
    torch.matmul: _matmul,
    torch.Tensor.matmul: _matmul,
    torch.mm: _matmul,
    torch.Tensor.mm: _matmul,
    torch.addmm: _addmm,
    torch.Tensor.addmm: _addmm,
    functional.embedding: _embedding,
    **{
        function: _convolution(dimensions, transposed=False)
        for dimensions, function in ((1, torch.conv1d), (2, torch.conv2d), (3, torch.conv3d))
    },
    **{
        function: _convolution(dimensions, transposed=True)
        for dimensions, function in (
            (1, torch.conv_transpose1d),
            (2, torch.conv_transpose2d),
            (3, torch.conv_transpose3d),
        )
    },
    functional.layer_norm: _layer_norm,
    functional.rms_norm: _rms_norm,
    functional.group_norm: _group_norm,
    functional.batch_norm: _batch_norm,
    torch.add: _add,
    torch.Tensor.add: _add,
    torch.Tensor.add_: _add,
    torch.Tensor.__iadd__: _add,
    torch.mul: _multiply,
    torch.Tensor.mul: _multiply,
    torch.addcmul: _multiply_and_add,
    torch.Tensor.addcmul: _multiply_and_add,
    torch.Tensor.expand: _repeated,
    torch.Tensor.expand_as: _repeated,
    torch.Tensor.repeat: _repeated,
}
