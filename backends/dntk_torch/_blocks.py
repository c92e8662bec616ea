"""Gradient blocks of all selected parameters: closed forms where they were confirmed, input by input elsewhere."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from dntk import arrays
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, TiedBlock
from dntk.models import batches
from dntk.models.adapter import stored_block
from dntk.types import Batch
from dntk_torch._confirming import Sums
from dntk_torch._evidence import is_zero, mixed_gradients
from dntk_torch._owners import Owners, Pulled
from dntk_torch._placing import misplaced, numbered, witnessed
from dntk_torch._pulling import Placed, pull
from dntk_torch._ways import Found, Way, way_of
from dntk_torch.called import device_of
from dntk_torch.calls import Functions
from dntk_torch.capture import Capture, block_of, capture, uses_in, uses_of, watched
from dntk_torch.execution import detached, differentiable
from dntk_torch.layouts import APART
from dntk_torch.per_sample import PerSample, by_loop
from dntk_torch.private_copy import Values
from dntk_torch.probe import Plan
from dntk_torch.requirements import require_no_remembered_values


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Forward:
    """A forward pass of which layers were recorded.

    ``idle``: parameters without a gradient at these inputs, whatever their forms give. ``woken``: those that have one,
    and had none where the forms were compared, so that no form of theirs counts. ``way``: the one that it took.
    """

    captured: Capture
    values: Values
    idle: frozenset[str]
    woken: frozenset[str]
    way: Way


def blocks_of(
    net: torch.nn.Module,
    selected: tuple[str, ...],
    plan: Plan,
    x: Batch,
    cotangents: torch.Tensor,
    *,
    look: Callable[[torch.Tensor], None],
    again: Callable[[frozenset[str]], Plan | None],
) -> Iterator[GradientBlock]:
    """Blocks in the order of the ``selected`` parameters, each at offset 0.

    Where data may decide which row goes where, rows are compared with their inputs, and on a new way through the
    network all gradients with autograd's. ``look`` is shown the outputs, where there are closed forms. ``again`` makes
    a better plan where parameters have woken, if it can.
    """
    cotangents = cotangents.detach()
    forward = _forward(net, plan, x, lambda _outputs: cotangents, look) if plan.layouts or plan.untold else None
    better = again(forward.woken) if forward is not None and forward.woken else None
    if better is not None:
        del forward  # and its graph
        yield from blocks_of(net, selected, better, x, cotangents, look=look, again=again)
        return
    passes = _passed(plan, forward, x, cotangents)
    del forward
    passes.stored.update(_per_sample(net, plan.per_sample, x, cotangents))
    passes.stored.update(_per_sample(net, dict.fromkeys(passes.wrong, by_loop), x, cotangents))
    absorbed = False
    for name, following in zip(selected, (*selected[1:], ""), strict=True):
        if absorbed:  # the bias of the block before
            absorbed = False
            continue
        block: Any = passes.block(name)
        passes.stored.pop(name, None)
        if block is None:
            # These inputs took another way through the network than those of the probe, one after the other.
            block = _per_sample(net, {name: by_loop}, x, cotangents)[name]
            if passes.owners is None and not bool(block.values.any()):
                require_no_remembered_values(net, (name,))
        joined = name in plan.with_bias and following not in passes.wrong
        if joined and isinstance(block, FactoredBlock) and not block.transposed:
            block, absorbed = dataclasses.replace(block, bias=True), True
        yield block


def _forward(
    net: torch.nn.Module,
    plan: Plan,
    x: Batch,
    cotangents: Callable[[torch.Tensor], torch.Tensor],
    look: Callable[[torch.Tensor], None],
) -> _Forward:
    with differentiable(device_of(x)):
        values = detached(net, [*plan.layouts, *plan.untold])
        reading = plan.rows.read is not None
        captured = capture(net, values, x, watched(plan.sites), shielded=plan.shielded, reading=reading)
        arrays.require_finite("the network's outputs", captured.outputs.detach())
        look(captured.outputs.detach())
        idle, woken = _asleep(net, captured, plan, values, cotangents(captured.outputs.detach()))
        way = way_of(captured.outputs, values)
    return _Forward(captured=captured, values=values, idle=idle, woken=woken, way=way)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Passes:
    """What all passes have given, without their graph."""

    forward: _Forward | None
    cotangents: torch.Tensor
    factored: Mapping[str, Placed]
    pulled: Pulled
    stored: dict[str, DenseBlock | None]
    owners: Owners | None = None
    wrong: frozenset[str] = frozenset()

    def block(self, name: str) -> GradientBlock | None:
        """Block of a parameter, ``None`` where the plan does not tell its gradients at these inputs."""
        block: Any = self.stored.get(name)
        if self.forward is None or name in self.wrong:
            return block
        if block is None and name in self.factored:
            sites, layout = self.factored[name]
            block = block_of(sites, self.forward.captured, self.pulled, layout=layout, name=name, owners=self.owners)
        if name in self.forward.idle:
            return (
                _nothing(name, self.forward.values[name].shape, self.cotangents) if block is None else _emptied(block)
            )
        return None if name in self.forward.woken else block

    def differing(self, sums: Sums, names: Iterable[str]) -> frozenset[str]:
        """Those of ``names`` whose gradients do not add up to autograd's; one block after the other is formed."""
        blocks = ((name, self.block(name)) for name in names)
        return frozenset(name for name, block in blocks if block is not None and not sums.agrees(name, block))


def _passed(plan: Plan, forward: _Forward | None, x: Batch, cotangents: torch.Tensor) -> _Passes:
    """The backward passes to the outputs of layers, and whether what they give is the gradient."""
    every = cotangents.expand(-1, batches.count(x), -1)
    if forward is None:
        return _Passes(forward=None, cotangents=every, factored={}, pulled={}, stored={})
    captured = forward.captured
    placed = APART in plan.layouts.values() or plan.rows.may_move(captured.read)
    found = plan.ways.of(forward.way, placed=placed)
    with differentiable(device_of(x)):
        told = {name: forward.values[name] for name in plan.layouts if name not in forward.idle | forward.woken}
        sums = Sums(captured, told, cotangents, plan.epsilon) if found is None else None
        look = placed or found is None or found.moved
        factored, small, owners, misled = _placed(captured, cotangents, plan, look=look)
        pulled, stored = pull(captured, cotangents, factored, small, owners)
        passes = _Passes(
            forward=dataclasses.replace(forward, captured=captured.without_graph()),
            cotangents=every,
            factored=factored,
            pulled=pulled,
            stored=stored,
            owners=owners,
        )
        if sums is not None:
            found = plan.ways.note(forward.way, Found(misled, passes.differing(sums, told)), placed=placed)
    return dataclasses.replace(passes, wrong=found.wrong if found else frozenset())


def _asleep(
    net: torch.nn.Module, captured: Capture, plan: Plan, values: Values, cotangents: torch.Tensor
) -> tuple[frozenset[str], frozenset[str]]:
    """Parameters without a gradient at these inputs, as those of experts that no row was sent to; and those woken."""
    uncalled = [
        name
        for name in plan.layouts
        if not any(uses_of(site, call, name) for site in plan.sites[name] for call in captured.calls[site.layer])
    ]
    quiet = _untold_uses(captured, plan)
    edges = {(name, order): captured.calls[layer][place].edge for name, order, layer, place in quiet}
    asked = {name: values[name] for name in dict.fromkeys([*plan.untold, *uncalled])}
    cotangents = cotangents.expand(-1, captured.outputs.shape[0], -1)
    found = mixed_gradients(captured.outputs, {**asked, **edges}, cotangents, captured.cuts)
    idle = frozenset(name for name in asked if is_zero(found[name]))
    if captured.outputs.requires_grad:
        unreached = frozenset(name for name in asked if found[name] is None)
        require_no_remembered_values(net, unreached - plan.unreached)
    return idle, (plan.untold - idle) | {key[0] for key in edges if not is_zero(found[key])}


def _untold_uses(captured: Capture, plan: Plan) -> list[tuple[str, int, torch.nn.Module | Functions, int]]:
    """Uses of parameters that have another use with a gradient, and had none where the forms were compared."""
    return [
        (name, order, layer, place)
        for name in plan.layouts
        if name not in plan.untold
        for order, (layer, place) in enumerate(uses_in(captured, plan.sites[name], name))
        if order not in plan.told[name]
    ]


def woken_at(net: torch.nn.Module, plan: Plan, x: Batch) -> frozenset[str]:
    """Parameters that have a gradient at some inputs, and had none where the forms of a plan were compared."""
    return _forward(net, plan, x, _drawn, lambda _outputs: None).woken


def on_its_way(net: torch.nn.Module, plan: Plan) -> Plan:
    """The plan, with the way that the network takes at the inputs by which its layouts were verified."""
    if plan.layouts:
        forward = _forward(net, plan, plan.shown, _drawn, lambda _outputs: None)
        plan.ways.note(forward.way, Found(), placed=False)
    return plan


def _drawn(outputs: torch.Tensor) -> torch.Tensor:
    return torch.randn(outputs.shape, generator=torch.Generator().manual_seed(24)).to(outputs)[None]


def _emptied(block: Any) -> Any:
    """The block with gradients of zero, in the same memory, by which batches are chosen."""
    if isinstance(block, TiedBlock):
        return dataclasses.replace(block, table=_emptied(block.table), linear=_emptied(block.linear))
    if isinstance(block, DenseBlock):
        return dataclasses.replace(block, values=torch.zeros_like(block.values))
    return dataclasses.replace(block, cotangents=torch.zeros_like(block.cotangents))


def _placed(
    captured: Capture, cotangents: torch.Tensor, plan: Plan, *, look: bool
) -> tuple[dict[str, Placed], dict[str, Placed], Owners | None, bool]:
    """Where parameters with factored and with stored gradients lie, with owners of rows if these are looked for.

    Rows of which the layout does not hold on these inputs are put together by their owners; the last says if any.
    """
    factored, small = plan.placed(stored=False), plan.placed(stored=True)
    if not look:
        return factored, small, None, False
    owners = witnessed(captured, cotangents, plan.epsilon)
    in_order = {name: placed for name, placed in {**factored, **small}.items() if placed[1] != APART}
    misled = misplaced(captured, owners, in_order)
    if misled or APART in plan.layouts.values():
        owners = numbered(captured, owners)

    def moved(placed: dict[str, Placed]) -> dict[str, Placed]:
        return {name: (sites, APART if name in misled else layout) for name, (sites, layout) in placed.items()}

    return moved(factored), moved(small), owners, bool(misled)


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
