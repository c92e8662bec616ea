"""What tangent features will cost."""

import dataclasses

from dntk import arrays
from dntk._progress import task
from dntk.features import tangent_features as make_features
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.batching import block_bytes
from dntk.outputs import FeatureOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.plan._measure import PerPoint, per_point, recorded
from dntk.plan._value import Plan, PlannedStage
from dntk.sketch.application import batch_of, bind
from dntk.sketch.base import CHUNK_ENTRIES, Sketch
from dntk.sketch.resolution import AnySketch, check_sketch, resolved
from dntk.types import Inputs

_COPIES = 2
"""Copies of a batch's gradient blocks that exist while they are worked on, as batches are chosen by."""
_WIDE = 8
"""Bytes of a number of a temporary, which is in float64."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedFeatures:
    """Cost of features of any number of points under one sketch, measured on a few.

    ``point_bytes`` are those of one point's features, ``block_bytes`` of its gradient blocks.
    """

    costs: PerPoint
    point_bytes: int
    block_bytes: int
    parameters: int | None
    """Numbers of a gradient, for all functionals, where it is kept whole."""

    def stage(self, name: str, n: int, *, disk: bool = False) -> PlannedStage:
        """Features of n points as a stage."""
        held = n * self.point_bytes
        cost = dataclasses.replace(self.costs.at(n), stage=name, nbytes=held)
        batch = min(n, self.costs.batch)
        pieces = CHUNK_ENTRIES if self.parameters is None else self.parameters * batch
        working = _COPIES * batch * self.block_bytes + _WIDE * min(pieces, CHUNK_ENTRIES)
        # Batches, and all of them once more as they are put together.
        memory = max(2 * held, held + working)
        return PlannedStage(cost=cost, memory=memory, disk=held if disk else 0, basis=self.costs.basis(n))


def planned_features(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    *,
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> PlannedFeatures:
    """Costs of features of checked inputs under a sketch, from a few of them."""
    xp = model.namespace
    dtype = arrays.kernel_dtype(xp, model.dtype)
    cotangents = cotangents_for(outputs, model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    bound = None if sketch is None else bind(sketch, model)
    batch, each = batch_of(model, x, bound, cotangents, batch_size, memory_limit=memory_limit)
    costs = per_point(
        lambda part: (
            make_features(
                model, part, sketch=bound, outputs=outputs, batch_size=batch_size, memory_limit=memory_limit
            ).values
        ),
        x,
        batch=batch,
    )
    return PlannedFeatures(
        costs=costs,
        point_bytes=each,
        block_bytes=block_bytes(model, x, cotangents),
        parameters=None if sketch is not None else cotangents.shape[0] * model.n_parameters,
    )


def tangent_features(
    model: Model,
    x: Inputs,
    *,
    sketch: AnySketch,
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> Plan:
    """What :func:`dntk.tangent_features` with these arguments will cost.

    Passes, rows and operations follow from two measured batches; seconds are those of the larger one, per point, which
    takes about a second. Choosing an automatic sketch is part of the plan and of the call, and is run. What is looked
    at once by a model, and what is compiled, is not in it.

    Parameters
    ----------
    model, x, sketch, outputs, batch_size, memory_limit
        As for :func:`dntk.tangent_features`.

    Raises
    ------
    TypeError, ValueError
        As that raises them of these arguments.
    """
    check_sketch(sketch)
    x = checked_inputs(model, x)
    found: list[Sketch | None] = []
    with task("plan") as running:
        choice = recorded(lambda: found.append(resolved(sketch, model, x, outputs=outputs)))
        settings = {"outputs": outputs, "batch_size": batch_size, "memory_limit": memory_limit}
        planned = planned_features(model, x, found[0], **settings)  # type: ignore[arg-type]
        n = batches.count(x)
        stage = planned.stage("features", n)
        seconds = running.event().seconds
    total = {name: getattr(stage.cost, name) + getattr(choice, name) for name in ("forward_passes", "backward_passes")}
    cost = dataclasses.replace(
        stage.cost, flops=stage.cost.flops + choice.flops, seconds=stage.cost.seconds + choice.seconds, **total
    )
    return Plan(
        call=f"tangent features of {n:,} points", stages=(dataclasses.replace(stage, cost=cost),), seconds=seconds
    )
