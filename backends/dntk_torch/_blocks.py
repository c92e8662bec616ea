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
from dntk_torch._owners import Owners, Pulled
from dntk_torch._placing import misplaced, numbered, witnessed
from dntk_torch._pulling import Placed, pull
from dntk_torch.called import device_of
from dntk_torch.capture import Capture, block_of, capture, uses_of, watched
from dntk_torch.execution import detached, differentiable
from dntk_torch.layouts import APART
from dntk_torch.per_sample import PerSample, by_loop, unreached
from dntk_torch.private_copy import Values
from dntk_torch.probe import Plan
from dntk_torch.requirements import require_no_remembered_values


def blocks_of(
    net: torch.nn.Module,
    selected: tuple[str, ...],
    plan: Plan,
    x: Batch,
    cotangents: torch.Tensor,
    *,
    look: Callable[[torch.Tensor], None],
) -> Iterator[GradientBlock]:
    """Blocks in the order of the ``selected`` parameters, each at offset 0.

    Where data may decide which row goes where, rows are compared with their inputs. ``look`` is shown the outputs,
    where there are closed forms.
    """
    captured: Capture | None = None
    idle: frozenset[str] = frozenset()
    factored: Mapping[str, Placed] = {}
    pulled: Pulled = {}
    stored: dict[str, DenseBlock | None] = {}
    owners: Owners | None = None
    cotangents = cotangents.detach()
    if plan.layouts:
        with differentiable(device_of(x)):
            values = detached(net, [*plan.layouts, *plan.unreached])
            reading = plan.rows.read is not None
            captured = capture(net, values, x, watched(plan.sites), shielded=plan.shielded, reading=reading)
            arrays.require_finite("the network's outputs", captured.outputs.detach())
            look(captured.outputs.detach())
            idle = _idle(net, captured, plan, values)
            factored, small, owners = _placed(captured, cotangents, plan)
            pulled, stored = pull(captured, cotangents, factored, small, owners)
            captured = captured.without_graph()
    stored.update(_per_sample(net, plan.per_sample, x, cotangents))
    absorbed = False
    for name in selected:
        if absorbed:  # the bias of the block before
            absorbed = False
            continue
        block: Any = stored.pop(name, None)
        if name in idle:
            block = _nothing(name, values[name].shape, cotangents.expand(-1, batches.count(x), -1))
        elif block is None and captured is not None and name in factored:
            sites, layout = factored[name]
            block = block_of(sites, captured, pulled, layout=layout, name=name, owners=owners)
        if block is None:
            # These inputs took another way through the network than those of the probe, one after the other.
            block = _per_sample(net, {name: by_loop}, x, cotangents)[name]
            if owners is None and not bool(block.values.any()):
                require_no_remembered_values(net, (name,))
        if name in plan.with_bias and isinstance(block, FactoredBlock) and not block.transposed:
            block, absorbed = dataclasses.replace(block, bias=True), True
        yield block


def _idle(net: torch.nn.Module, captured: Capture, plan: Plan, values: Values) -> frozenset[str]:
    """Parameters from which no way leads to these outputs, as those of experts that no row was sent to."""
    uncalled = [
        name
        for name in plan.layouts
        if not any(uses_of(site, call, name) for site in plan.sites[name] for call in captured.calls[site.layer])
    ]
    asked = {name: values[name] for name in [*plan.unreached, *uncalled]}
    found = unreached(captured.outputs, asked) if asked and captured.outputs.requires_grad else frozenset()
    require_no_remembered_values(net, found - plan.unreached)
    return found


def _placed(
    captured: Capture, cotangents: torch.Tensor, plan: Plan
) -> tuple[dict[str, Placed], dict[str, Placed], Owners | None]:
    """Where parameters with factored and with stored gradients lie, with owners of rows where these are needed.

    Rows of which the layout does not hold on these inputs are put together by their owners.
    """
    factored, small = plan.placed(stored=False), plan.placed(stored=True)
    routed = APART in plan.layouts.values()
    if not routed and not plan.rows.may_move(captured.read):
        return factored, small, None
    owners = witnessed(captured, cotangents, plan.epsilon)
    in_order = {name: placed for name, placed in {**factored, **small}.items() if placed[1] != APART}
    misled = misplaced(captured, owners, in_order)
    if routed or misled:
        owners = numbered(captured, owners)

    def moved(placed: dict[str, Placed]) -> dict[str, Placed]:
        return {name: (sites, APART if name in misled else layout) for name, (sites, layout) in placed.items()}

    return moved(factored), moved(small), owners


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
