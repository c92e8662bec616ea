"""What a trajectory is asked for: checked checkpoints, points, and what is distilled."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import integer, kind_of
from dntk._target_checks import check_targets
from dntk.distill.data import DataSelector, Selection
from dntk.distill.data.last_layer import has_last_layer
from dntk.features import TangentFeatures, tangent_features
from dntk.models import batches
from dntk.models.base import Model, checked_inputs, require_model
from dntk.sketch.resolution import AnySketch, resolved
from dntk.types import Array, Inputs

Checkpoint = Model | Callable[[], Model]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Checked arguments; ``reference`` counts from the front. Without one the last layer tells, where it is seen."""

    models: Sequence[Checkpoint]
    x: Inputs
    targets: Float[Array, "n c"] | None
    distilled: DataSelector | Selection | None
    reference: int | None
    from_last_layer: bool = False
    sketch: AnySketch
    memory_limit: int | None

    @staticmethod
    def of(models: Any, x: Any, y: Any, distilled: Any, reference: Any, sketch: AnySketch, limit: int | None) -> "Run":
        """Arguments of :func:`dntk.trajectory`, checked."""
        models = _checkpoints(models)
        _check_distilled(distilled)
        at = _reference(reference, len(models))
        model = _opened(models[-1 if at is None else at])
        x = checked_inputs(model, x)
        seen = distilled is not None and at is None and has_last_layer(model, x)
        if at is None and not seen and distilled is not None:
            at = _unseen(distilled, reference, len(models))
        if y is not None:
            arrays.require_floating("y", y)
            columns = y.shape[1] if y.ndim == 2 else 1
            y = check_targets(y, y, points=batches.count(x), outputs=columns, name="y")
        sketch = resolved(sketch, model, x, outputs="each")
        return Run(
            models=models,
            x=x,
            targets=y,
            distilled=distilled,
            reference=at,
            from_last_layer=seen,
            sketch=sketch,
            memory_limit=limit,
        )

    def opened(self, number: int) -> Model:
        """The network of a checkpoint; loaded where it is a function."""
        return _opened(self.models[number])

    def features(self, model: Model, x: Inputs) -> TangentFeatures:
        """Those of inputs."""
        return tangent_features(model, x, sketch=self.sketch, memory_limit=self.memory_limit)

    def at(self, points: Sequence[int], like: Array) -> tuple[Array, Inputs, Array | None]:
        """Positions, inputs and targets of some points."""
        xp = arrays.namespace(like)
        where = xp.asarray(list(points), device=arrays.device_of(like))
        y = None if self.targets is None else xp.take(self.targets, where, axis=0)
        return where, batches.take(self.x, where), y


def _checkpoints(models: Any) -> Sequence[Checkpoint]:
    if isinstance(models, Model) or not isinstance(models, list | tuple):
        msg = f"`models` is {kind_of(models)}: pass a list of checkpoints, each from dntk.as_model or a function."
        raise TypeError(msg)
    if not models:
        msg = "`models` is empty: pass at least one checkpoint."
        raise ValueError(msg)
    for model in models:
        if not isinstance(model, Model) and (isinstance(model, type) or not callable(model)):
            require_model(model, "models")
    return models


def _check_distilled(distilled: Any) -> None:
    if distilled is None or isinstance(distilled, Selection):
        return
    if isinstance(distilled, type) or not isinstance(distilled, DataSelector):
        msg = f"`distilled` is {kind_of(distilled)}: expected a selector such as KMeans(64), a Selection, or None."
        raise TypeError(msg)


def _reference(reference: Any, length: int) -> int | None:
    """Counted from the front; None where all points are differentiated nowhere, if that can be."""
    if reference is None or (isinstance(reference, str) and reference == "auto"):
        return None
    return range(length)[_within("reference", reference, length)]


def _unseen(distilled: DataSelector | Selection, reference: Any, length: int) -> int | None:
    """The last checkpoint, where forward passes do not tell; None: a selection stands for all by weights."""
    if reference is not None:
        return length - 1
    if isinstance(distilled, Selection):
        return None
    msg = "a selector looks at all points, but `reference` is None, and what enters the last layer of this network"
    raise ValueError(msg + " is not seen: name a checkpoint, or pass a Selection.")


def _within(name: str, value: Any, length: int) -> int:
    index = integer(name, value, least=-length)
    if index >= length:
        msg = f"`{name}`={index}, but there are {length} checkpoints: pass 0 to {length - 1}, or -1 for the last."
        raise ValueError(msg)
    return index


def _opened(checkpoint: Checkpoint) -> Model:
    """The model; loaded where it is a function."""
    return require_model(checkpoint if isinstance(checkpoint, Model) else checkpoint(), "models")
