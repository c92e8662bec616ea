"""The points that a kernel is kept on: all, chosen, or made; with targets, and what they leave of the kernel."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int

from dntk import arrays
from dntk._progress import task
from dntk._target_checks import check_classes, check_labels, check_targets
from dntk.archive import StoreError, fingerprint
from dntk.arrays import itemsize
from dntk.distill.data.base import InputSelector, Selection
from dntk.distill.data.distilled_data import DataDistiller, DistilledData
from dntk.distill.data.draws import minibatch
from dntk.distill.data.nystrom_residual import residual
from dntk.estimator.resumption import Keep, require_memory
from dntk.features import TangentFeatures
from dntk.ledger import nbytes_of
from dntk.metrics import predicted_labels
from dntk.models import batches
from dntk.models.base import POINTS, Model, outputs_of
from dntk.sketch import Sketch, SketchPlan
from dntk.stores.rows import PointRows
from dntk.stores.spread import all_parts
from dntk.targets import one_hot
from dntk.types import Array

_SAMPLE = 512
"""Points on which the residual of distilled inputs is measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptPoints:
    """Kept inputs and targets; ``residual`` is the relative trace residual that they leave of the kernel of all.

    ``indices`` where points of the data are kept, ``data`` where inputs were distilled. No residual is known of points
    that were chosen by another kernel: it is then measured on a sample.
    """

    x: Array
    targets: Float[Array, "m c"]
    residual: float | None
    indices: Int[Array, " m"] | None = None
    data: DistilledData | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept of the data: positions, or inputs."""
        if self.indices is not None:
            return self.indices.shape[0] * 8
        return nbytes_of(self.x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Targets:
    """What the regression is on: checked targets (n, C) of all points, or the network's outputs at those kept.

    ``like`` is an array of the outputs' library, dtype and device.
    """

    model: Model
    given: Float[Array, "n c"] | None
    like: Float[Array, "_ c"]

    def at(self, x: Array, indices: Int[Array, " m"]) -> Float[Array, "m c"]:
        """Targets of the points at ``indices``, whose inputs are ``x``."""
        if self.given is None:
            return outputs_of(self.model, x)
        return arrays.namespace(self.given).take(self.given, indices, axis=0)


def checked_targets(model: Model, x: Array, y: Array | None) -> Targets:
    """Targets for checked inputs: floats as they are, labels as centred one-hot vectors, else the network's outputs.

    Raises
    ------
    TypeError, ValueError
        Targets or labels of another length, of one class, or not finite.
    """
    like = outputs_of(model, batches.first(x))
    if y is None:
        return Targets(model=model, given=None, like=like)
    xp = arrays.require_same_place(outputs=like, y=y)
    if xp.isdtype(y.dtype, "integral") and y.ndim == 1:
        check_labels("y", y, points=batches.count(x))
        check_classes("y", y, classes=model.n_outputs)
        given = one_hot(y, model.n_outputs, like=like)
    else:
        given = check_targets(y, like, points=batches.count(x), outputs=model.n_outputs, name="y")
    return Targets(model=model, given=given, like=like)


def all_points(x: Array, targets: Targets, client: Any = None) -> KeptPoints:
    """All points; the workers of a client make the network's outputs there."""
    model = targets.model
    every = model.namespace.arange(batches.count(x), device=model.device)
    goals = targets.at(x, every) if targets.given is not None else outputs_by(client, model, x)
    return KeptPoints(x=x, targets=goals, residual=0.0, indices=every)


def outputs_by(client: Any, model: Model, x: Array) -> Float[Array, "n c"]:
    """Outputs of the model at all points, by the workers of a client where there is one."""
    if client is None:
        return outputs_of(model, x)
    with task("outputs", total=batches.count(x), unit="points") as bar:
        outputs = all_parts(PointRows(model, POINTS, axis=0), x, client, bar)
    arrays.require_finite("the network's outputs", outputs)
    return outputs


def selected(
    select: Callable[[TangentFeatures], Selection],
    model: Model,
    x: Array,
    targets: Targets,
    *,
    sketch: Sketch | SketchPlan | None,
    keep: Keep,
) -> KeptPoints:
    """Points that are chosen by the features of one functional."""

    def make() -> Selection:
        require_choosing(keep.memory_limit, batches.count(x), dim_of(sketch, model), targets.like)
        return select(keep.features("selecting", model, x, sketch=sketch, outputs="sum"))

    return of_selection(keep.selection(targets.like, batches.count(x), make), x, targets)


def choosing_bytes(points: int, dim: int, like: Array) -> int:
    """Bytes of features of one functional, of their batches, and of the same in float64."""
    return points * dim * (2 * itemsize(like) + 8)


def require_choosing(limit: int | None, points: int, dim: int, like: Array) -> None:
    """Raise ``ValueError`` where features of one functional, by which points are chosen, take more than the limit."""
    remedy = 'Choose by less, data="auto", or take a smaller sketch.'
    needed = choosing_bytes(points, dim, like)
    require_memory(limit, needed, "features of all points, by which points are chosen,", remedy)


def dim_of(sketch: Sketch | SketchPlan | None, model: Model) -> int:
    """Features per output that a sketch or plan makes of a model's gradients."""
    plain = sketch.sketch if isinstance(sketch, SketchPlan) else sketch
    return model.n_parameters if plain is None else plain.dim


def chosen_inputs(selector: InputSelector, model: Model, x: Array, targets: Targets, *, keep: Keep) -> KeptPoints:
    """Points that are chosen by something cheaper than their tangent features."""
    more = keep.limited(selector.select_inputs)
    selection = keep.selection(targets.like, batches.count(x), lambda: selector.select_inputs(model, x, **more))
    return dataclasses.replace(of_selection(selection, x, targets), residual=None)


def of_selection(selection: Selection, x: Array, targets: Targets) -> KeptPoints:
    """Chosen points."""
    left = float(selection.residual_trace[-1])
    chosen = batches.take(x, selection.indices)
    return KeptPoints(
        x=chosen,
        targets=targets.at(chosen, selection.indices),
        residual=left / selection.trace if selection.trace > 0 else 0.0,
        indices=selection.indices,
    )


def distilled(
    source: DataDistiller | DistilledData,
    model: Model,
    x: Array,
    y: Array | None,
    targets: Targets,
    *,
    sketch: Sketch | SketchPlan | None,
    keep: Keep,
) -> KeptPoints:
    """Inputs that an objective makes, or has made, with the residual of one functional on a sample of the data.

    Raises
    ------
    TypeError
        ``source`` is neither.
    ValueError
        ``y`` has real targets, which nobody knows at the inputs that are made.
    dntk.StoreError
        The data were distilled for a network with other parameters.
    """
    if y is not None and not _are_labels(model, y):
        msg = (
            f"`y` has targets of shape {tuple(y.shape)} and dtype {y.dtype}, but `data` is {type(source).__name__}, "
            "whose inputs have the network's outputs or labels as targets: pass integer labels or no `y`, or a "
            "selector of points such as dntk.distill.data.KMeans(500)."
        )
        raise ValueError(msg)
    if isinstance(source, DistilledData):
        data = source
        if data.provenance.model != fingerprint(model):
            msg = "`data` was distilled for a network with other parameters: distil it for this one."
            raise StoreError(msg)
        model.check_inputs(data.x, "data.x")
    elif isinstance(source, DataDistiller):
        data = keep.distilled(source, model, x, _classes(model, x, y))
    else:
        msg = (
            f"`data` is a {type(source).__name__}: expected a selector of points, an objective with distill(model, x, "
            "y), DistilledData, or None."
        )
        raise TypeError(msg)
    sample = batches.take(x, minibatch(batches.count(x), _SAMPLE, seed=data.provenance.seed, step=0))

    def left() -> float:
        both = (("sampled", sample), ("distilled-inputs", data.x))
        features = [keep.features(name, model, at, sketch=sketch, outputs="sum").joined() for name, at in both]
        return max(0.0, residual(*(arrays.in_float64(f) for f in features), ridge=1e-9))

    return KeptPoints(
        x=data.x,
        targets=of_data(data, model, y, targets.like),
        residual=keep.number("loss of distilled inputs", targets.like, left),
        data=data,
    )


def _classes(model: Model, x: Array, y: Array | None) -> Array:
    """Labels, or the network's own classes where there are none."""
    if y is not None and _are_labels(model, y):
        return y
    return predicted_labels(outputs_of(model, x))


def _are_labels(model: Model, y: Array) -> bool:
    return y.ndim == 1 and model.namespace.isdtype(y.dtype, "integral")


def of_data(data: DistilledData, model: Model, y: Array | None, like: Float[Array, "n c"]) -> Float[Array, "m c"]:
    """The network's outputs at distilled inputs, or, for labels, what stands in the data."""
    xp = model.namespace
    if y is None:
        return outputs_of(model, data.x)
    if xp.isdtype(data.y.dtype, "integral"):
        return one_hot(data.y, model.n_outputs, like=like)
    return check_targets(data.y, like, points=len(data), outputs=model.n_outputs)
