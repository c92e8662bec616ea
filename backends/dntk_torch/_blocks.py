"""Gradient blocks of all selected parameters: closed forms where they were confirmed, input by input elsewhere."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from dntk import arrays
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock
from dntk.models import batches
from dntk.models.adapter import stored_block
from dntk.types import Batch
from dntk_torch._placing import misplaced
from dntk_torch._pulling import pull
from dntk_torch.called import device_of
from dntk_torch.capture import Capture, Pulled, block_of, capture, watched
from dntk_torch.execution import detached, differentiable
from dntk_torch.per_sample import PerSample, by_loop, unreached
from dntk_torch.probe import Plan
from dntk_torch.requirements import require_no_remembered_values


def blocks_of(
    net: torch.nn.Module,
    selected: tuple[str, ...],
    plan: Plan,
    x: Batch,
    cotangents: torch.Tensor,
    *,
    moving: Callable[[], bool],
) -> Iterator[GradientBlock]:
    """Blocks in the order of the ``selected`` parameters, each at offset 0.

    ``moving`` tells whether data decide which row goes where, so that rows have to be compared with their inputs.
    """
    captured: Capture | None = None
    idle: frozenset[str] = frozenset()
    pulled: Pulled = {}
    stored: dict[str, DenseBlock | None] = {}
    misled: set[str] = set()
    cotangents = cotangents.detach()
    if plan.layouts:
        with differentiable(device_of(x)):
            values = detached(net, [*plan.layouts, *plan.unreached])
            captured = capture(net, values, x, watched(plan.sites), shielded=plan.shielded)
            arrays.require_finite("the network's outputs", captured.outputs.detach())
            if plan.unreached:
                idle = unreached(captured.outputs, {name: values[name] for name in plan.unreached})
            factored, small = plan.placed(stored=False), plan.placed(stored=True)
            if moving():
                misled = misplaced(captured, cotangents, {**factored, **small}, plan.epsilon)
            pulled, stored = pull(captured, cotangents, factored, small)
    stored.update(_per_sample(net, plan.per_sample, x, cotangents))
    absorbed = False
    for name in selected:
        if absorbed:  # the bias of the block before
            absorbed = False
            continue
        block: Any = stored.pop(name, None)
        if name in misled:
            block = None
        elif name in idle:
            block = _nothing(name, values[name].shape, cotangents.expand(-1, batches.count(x), -1))
        elif block is None and captured is not None and name in plan.layouts and name not in plan.stored:
            block = block_of(plan.sites[name], captured, pulled, layout=plan.layouts[name], name=name)
        if block is None:
            # These inputs took another way through the network than those of the probe, one after the other.
            block = _per_sample(net, {name: by_loop}, x, cotangents)[name]
            if name not in misled and not bool(block.values.any()):
                require_no_remembered_values(net, (name,))
        if name in plan.with_bias and isinstance(block, FactoredBlock) and not block.transposed:
            block, absorbed = dataclasses.replace(block, bias=True), True
        yield block


def _nothing(name: str, shape: torch.Size, cotangents: torch.Tensor) -> GradientBlock:
    """No gradient at all, in little memory."""
    q, n = cotangents.shape[:2]
    zeros: Any = arrays.widened(cotangents.new_zeros(()))
    if len(shape) < 2:
        return DenseBlock(name=name, offset=0, values=zeros.new_zeros((q, n, shape.numel())))
    inputs = zeros.new_zeros((n, 1, shape[1:].numel()))
    return FactoredBlock(name=name, offset=0, inputs=inputs, cotangents=zeros.new_zeros((q, n, 1, shape[0])))


def _per_sample(
    net: torch.nn.Module, methods: Mapping[str, PerSample], x: Batch, cotangents: torch.Tensor
) -> dict[str, DenseBlock]:
    """Stored gradients of parameters without a closed form."""
    blocks = {}
    for method in set(methods.values()):
        names = [name for name, chosen in methods.items() if chosen is method]
        for name, values in method(net, names, x, cotangents).items():
            blocks[name] = stored_block(name, arrays.widened(values))
    return blocks
