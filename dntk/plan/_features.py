"""What tangent features will cost."""

import dataclasses
from typing import Protocol, runtime_checkable

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
from dntk.sketch.layout import ParameterMatrix, layout_of
from dntk.sketch.resolution import AnySketch, check_sketch, resolved
from dntk.types import Inputs

_COPIES = 1.35
"""Copies of a batch's gradient blocks that exist, with what the network keeps to differentiate; measured 1 to 1.6."""
_PIECE = 16
"""Bytes for every number of a piece of gradients, which is widened, turned and placed; measured 8 to 20."""


@runtime_checkable
class _Reduces(Protocol):
    """A sketch that reduces some matrices of parameters before it expands their gradients."""

    def width_of(self, matrix: ParameterMatrix) -> int | None:
        """To how many columns; None for a matrix that stays whole."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedFeatures:
    """Cost of features of any number of points under one sketch, measured on a few.

    ``point_bytes`` are those of one point's features, ``block_bytes`` of its gradient blocks, ``piece`` the most
    numbers of its gradients that are expanded at once.
    """

    costs: PerPoint
    point_bytes: int
    block_bytes: int
    piece: int

    def stage(self, name: str, n: int, *, disk: bool = False) -> PlannedStage:
        """Features of n points as a stage."""
        held = n * self.point_bytes
        cost = dataclasses.replace(self.costs.at(n), stage=name, nbytes=held)
        batch = min(n, self.costs.batch)
        working = round(_COPIES * batch * self.block_bytes) + _PIECE * min(self.piece * batch, CHUNK_ENTRIES)
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
        piece=cotangents.shape[0] * _expanded(model, bound),
    )


def _expanded(model: Model, sketch: Sketch | None) -> int:
    """The most numbers of one gradient that are expanded at once: those of the largest matrix, reduced or whole."""
    reducing = sketch if isinstance(sketch, _Reduces) else None
    widths = ((m, None if reducing is None else reducing.width_of(m)) for m in layout_of(model))
    return max(matrix.rows * (width or matrix.columns) for matrix, width in widths)


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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> plan = dntk.plan.tangent_features(model, x, sketch=dntk.sketch.SparseSign(32))
    >>> print(plan)
    plan of tangent features of 40 points, made in ... s
    stage     forward  backward  rows     GFLOP  MiB kept  ...  seconds  from
    features       41        81    80  ...  40 measured
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
