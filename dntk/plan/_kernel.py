"""What an exact kernel will cost."""

import dataclasses
from typing import Any, TypeAlias

from dntk._progress import task
from dntk.kernels import ntk as exact_kernel
from dntk.kernels._ntk import Order, order_of
from dntk.ledger import COLUMNS, StageCost
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.batching import block_bytes
from dntk.outputs import KernelOutputs
from dntk.plan._measure import AGAIN, FEW, SECONDS, added, recorded, settled
from dntk.plan._value import Plan, PlannedStage
from dntk.types import Inputs

_COPIES = 1.6
"""Copies of gradient blocks that exist, with what the network keeps to differentiate; measured 1.5 to 1.7."""

_Measured: TypeAlias = tuple[int, int, StageCost]
"""Inputs that are differentiated, pairs that are multiplied, and their cost."""


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

    def measured(points: int) -> _Measured:
        parts = [None if x is None else batches.first(x, points) for x in (x1, x2)]
        own = order_of(model, *parts, outputs=outputs, batch_size=points)
        cost = recorded(lambda: exact_kernel(model, *parts, outputs=outputs, batch_size=points))
        return own.inputs, own.pairs * len(own.groups), cost

    least = min(batches.count(x) for x in (x1, x2) if x is not None)
    few = min(FEW, least)
    measured(few)
    small = measured(few)
    # Pairs begin to weigh as points grow: fewer than passes alone would allow.
    most = min(least, order.batch, int(few * SECONDS / max(small[2].seconds, 1e-9)))
    large = small if most <= few else measured(most)
    if large[2].seconds > 2 * small[2].seconds * (most / few) ** 2 or large[2].seconds < AGAIN:
        large = measured(max(few, most))
    cost = added("", choice, _at(small, large, order))
    group, n = order.groups[0], batches.count(x1)
    sides = 1 if x2 is None and order.batch >= n else 2
    blocks = round(_COPIES * sides * min(order.batch, n) * block_bytes(model, x1, group))
    return PlannedStage(
        cost=dataclasses.replace(cost, stage=name, nbytes=order.nbytes),
        memory=2 * order.nbytes + blocks,
        basis=f"kernel of {max(few, most):,} points measured, the rest extrapolated",
    )


def _at(small: _Measured, large: _Measured, order: Order) -> StageCost:
    """Passes by how often inputs are differentiated, operations and seconds by that and by pairs."""
    inputs, pairs = order.inputs * len(order.groups), order.pairs * len(order.groups)
    functionals = sum(group.shape[0] for group in order.groups)
    found: dict[str, Any] = {}
    for column in COLUMNS:
        a, b = _two(small, large, column)
        found[column] = a * order.inputs + b * pairs
    counts = {column: round(found[column]) for column in COLUMNS if column != "seconds"}
    counts["forward_passes"] = inputs
    counts["backward_passes"] = counts["jacobian_rows"] = functionals * order.inputs
    return StageCost(stage="", **counts, seconds=found["seconds"])


def _two(small: _Measured, large: _Measured, column: str) -> tuple[float, float]:
    """Costs of an input and of a pair, none negative, that the two measurements say."""
    (n1, p1, first), (n2, p2, second) = small, large
    low, high = float(getattr(first, column)), float(getattr(second, column))
    determinant = n1 * p2 - n2 * p1
    if determinant == 0:
        return low / n1, 0.0
    a, b = (low * p2 - high * p1) / determinant, (n1 * high - n2 * low) / determinant
    if a < 0:
        return 0.0, high / p2
    return (high / n2, 0.0) if b < 0 else (a, b)


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

    Passes and rows follow from the batches that it will choose; operations and seconds from two measured kernels of a
    few points, the larger of which takes about a second, by the inputs that are differentiated and the pairs that are
    multiplied. Layers may take another of their exact forms where batches are larger.

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
