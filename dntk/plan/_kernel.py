"""What an exact kernel will cost."""

import dataclasses
from typing import Any

from dntk._progress import task
from dntk.kernels import ntk as exact_kernel
from dntk.kernels._ntk import Order, order_of
from dntk.ledger import COLUMNS, StageCost
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.batching import block_bytes
from dntk.outputs import KernelOutputs
from dntk.plan._measure import FEW, added, measurements, recorded, settled
from dntk.plan._products import layers_of, product_operations
from dntk.plan._value import Plan, PlannedStage
from dntk.types import Inputs

_COPIES = 1.6
"""Copies of gradient blocks that exist, with what the network keeps to differentiate; measured 1.5 to 1.7."""


@dataclasses.dataclass(frozen=True)
class _Measured:
    """A kernel of some points: inputs differentiated, pairs multiplied with so many operations, and their cost."""

    points: int
    inputs: int
    pairs: int
    products: int
    cost: StageCost


def planned_kernel(
    model: Model,
    x1: Inputs,
    x2: Inputs | None = None,
    *,
    name: str = "kernel",
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> PlannedStage:
    """The exact kernel of checked inputs as a stage, from two measured kernels of a few of them."""
    orders: list[Order] = []
    settings: dict[str, Any] = {"outputs": outputs, "batch_size": batch_size, "memory_limit": memory_limit}
    choice = settled(lambda: orders.append(order_of(model, x1, x2, **settings)))
    order = orders[0]
    layers = layers_of(model, x1, order.groups[0])

    def products(order: Order, n1: int, n2: int | None) -> int:
        return product_operations(layers, order, n1, n2, outputs=outputs)

    def cost_of(points: int) -> StageCost:
        parts = [None if x is None else batches.first(x, points) for x in (x1, x2)]
        return recorded(lambda: exact_kernel(model, *parts, outputs=outputs, batch_size=points))

    def measured(points: int, cost: StageCost) -> _Measured:
        parts = [None if x is None else batches.first(x, points) for x in (x1, x2)]
        own = order_of(model, *parts, outputs=outputs, batch_size=points)
        multiplied = products(own, points, None if x2 is None else points)
        return _Measured(points, own.inputs, own.pairs * len(own.groups), multiplied, cost)

    least = min(batches.count(x) for x in (x1, x2) if x is not None)
    few = min(FEW, least)
    cost_of(few)
    first = few, cost_of(few)
    small, large = (measured(*each) for each in measurements(cost_of, first, min(least, order.batch)))
    group, n = order.groups[0], batches.count(x1)
    multiplied = products(order, n, None if x2 is None else batches.count(x2))
    cost = added("", choice, _at(small, large, order, multiplied))
    sides = 1 if x2 is None and order.batch >= n else 2
    blocks = round(_COPIES * sides * min(order.batch, n) * block_bytes(model, x1, group))
    return PlannedStage(
        cost=dataclasses.replace(cost, stage=name, nbytes=order.nbytes),
        memory=2 * order.nbytes + blocks,
        basis=f"kernel of {large.points:,} points measured, the rest extrapolated",
    )


def _at(small: _Measured, large: _Measured, order: Order, products: int) -> StageCost:
    """Passes by how often inputs are differentiated; operations are those of products, and others by pairs.

    Seconds are those of the larger measurement, per operation: products are as many in proportion as passes nearly, so
    that two measurements cannot tell their seconds apart.
    """
    inputs, pairs = order.inputs * len(order.groups), order.pairs * len(order.groups)
    sizes = (small.inputs, small.pairs), (large.inputs, large.pairs), (order.inputs, pairs)
    found: dict[str, float] = {}
    for column in COLUMNS:
        low, high = (float(getattr(each.cost, column)) for each in (small, large))
        if column == "flops":
            low, high = max(0.0, low - small.products), max(0.0, high - large.products)
        found[column] = _along(sizes, low, high) + (products if column == "flops" else 0)
    if large.cost.flops:
        found["seconds"] = large.cost.seconds * found["flops"] / large.cost.flops
    counts = {column: round(found[column]) for column in COLUMNS if column != "seconds"}
    counts["forward_passes"] = inputs
    counts["backward_passes"] = counts["jacobian_rows"] = order.inputs * sum(group.shape[0] for group in order.groups)
    return StageCost(stage="", **counts, seconds=found["seconds"])


def _along(sizes: tuple[tuple[int, int], ...], low: float, high: float) -> float:
    """What something costs at the third of these sizes, by costs of an input and of a pair, none of them negative."""
    (n1, p1), (n2, p2), (n, p) = sizes
    determinant = n1 * p2 - n2 * p1
    if determinant == 0:
        return low / n1 * n
    a, b = (low * p2 - high * p1) / determinant, (n1 * high - n2 * low) / determinant
    if a < 0:
        return high / p2 * p
    return high / n2 * n if b < 0 else a * n + b * p


def ntk(
    model: Model,
    x1: Inputs,
    x2: Inputs | None = None,
    *,
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> Plan:
    """What :func:`dntk.ntk` with these arguments will cost.

    Passes and rows follow from the batches that it will choose, operations of products from the form that layers take
    in these; other operations from measured kernels of a few points, by the inputs that are differentiated and the
    pairs; seconds from the largest of them, which takes about a second, per operation.

    Parameters
    ----------
    model, x1, x2, outputs, batch_size, memory_limit
        As for :func:`dntk.ntk`.

    Raises
    ------
    TypeError, ValueError
        As that raises them of these arguments.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> plan = dntk.plan.ntk(model, rng.normal(size=(40, 3)))
    >>> print(plan)
    plan of the exact kernel of 40 points, made in ... s
    stage   forward  backward  rows     GFLOP  MiB kept  MiB needed  MiB on disk  seconds  from
    kernel       41        81    80  ...  kernel of 40 points measured, ...
    """
    x1 = checked_inputs(model, x1, "x1")
    x2 = None if x2 is None else checked_inputs(model, x2, "x2")
    with task("plan") as running:
        stage = planned_kernel(model, x1, x2, outputs=outputs, batch_size=batch_size, memory_limit=memory_limit)
        seconds = running.event().seconds
    points = " and ".join(f"{batches.count(x):,}" for x in (x1, x2) if x is not None)
    return Plan(call=f"the exact kernel of {points} points", stages=(stage,), seconds=seconds)
