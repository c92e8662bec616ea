"""What a fit says of queries, from their features, some of them at a time."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.certificates import Span, posterior_variance, tangent_residual
from dntk.estimator._steps import predicted
from dntk.estimator.state import FittedState
from dntk.features import TangentFeatures
from dntk.ledger import StageCost, count_product
from dntk.models import batches
from dntk.models._finite_results import require_finite_result
from dntk.models.base import Model
from dntk.outputs.functionals import cotangents_for
from dntk.sketch import Sketch
from dntk.sketch.application import batch_of, features_of_batch
from dntk.sketch.base import CHUNK_ENTRIES
from dntk.stores.rows import PointRows
from dntk.stores.spread import all_parts
from dntk.types import Array, Batch, Inputs

_SHARE = 4
"""Features of queries, and what is made of them, take at most two parts in so many of a memory limit."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What a fit says of queries, see :meth:`Fit.query`.

    Parameters
    ----------
    prediction, uncertainty
        (n, C), as :meth:`Fit.predict` (to rounding) and :meth:`Fit.uncertainty`.
    trust
        (n,), as :meth:`Fit.trust`.
    cost
        What all three took together.
    """

    prediction: Float[Array, "n c"]
    uncertainty: Float[Array, "n c"]
    trust: Float[Array, " n"]
    cost: StageCost


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Says:
    """A predictor in the span that was kept, and what it says of queries given by their features; it can be sent."""

    weights: Float[Array, "g k"]
    span: Span
    ridge: float

    @staticmethod
    def of(state: FittedState) -> "Says":
        """What answers take of a fit."""
        return Says(weights=state.weights, span=state.span(), ridge=state.ridge)

    def moments(self, phi: TangentFeatures) -> Float[Array, "n d"]:
        """Predictions, and deviations beside them: two columns for every output."""
        count_product(phi.values, self.weights[:, :, None])
        return arrays.namespace(phi.values).concat([predicted(phi, self.weights), self.deviation(phi)], axis=1)

    def deviation(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """√v̂ of every output."""
        variance = posterior_variance(phi.values, self.span.basis, self.span.squares, ridge=self.ridge)
        xp = arrays.namespace(variance)
        return xp.astype(xp.sqrt(variance).T, phi.values.dtype, copy=False)

    def trust(self, phi: TangentFeatures, *, normalised: bool = True) -> Float[Array, " n"]:
        """The share of their features outside the span."""
        return tangent_residual(phi, self.span.basis, normalised=normalised)

    def all(self, phi: TangentFeatures) -> Float[Array, "n d"]:
        """Moments, and a column of :meth:`trust` after them."""
        return arrays.namespace(phi.values).concat([self.moments(phi), self.trust(phi)[:, None]], axis=1)

    def inside(self, phi: TangentFeatures) -> Float[Array, "c n s"]:
        """Coordinates in the span."""
        count_product(phi.values, self.span.basis.mT)
        return phi.values @ self.span.basis.mT


def of_features(
    answer: Callable[[TangentFeatures], Array],
    model: Model,
    x: Inputs,
    state: FittedState,
    *,
    axis: int = 0,
    client: Any = None,
) -> Array:
    """What ``answer`` makes of the features of checked inputs, which it has on this axis, batch by batch.

    Features of all queries never exist at once, whatever their number. Workers of a ``client`` take the same batches.

    Raises
    ------
    ValueError
        A gradient is not finite; the memory limit of the fit is too small.
    """
    xp, sketch = model.namespace, state.sketch
    dtype = arrays.kernel_dtype(xp, model.dtype)
    every = cotangents_for("each", model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    with arrays.checked_afterwards():
        size = _batch_size(model, x, sketch, every, state.memory_limit)
    rows = PointRows(functools.partial(_answered, answer, model, every, sketch), size, axis=axis)
    with task("queries", total=batches.count(x), unit="points") as bar, arrays.checked_afterwards():
        found = all_parts(rows, x, client, bar)
    require_finite_result(found, model, {"x": x}, every, size)
    return found


def _batch_size(
    model: Model, x: Inputs, sketch: Sketch | None, every: Float[Array, "c c"], memory_limit: int | None
) -> int:
    """Queries at once: what is made of gradients bounds them, and how many features there may be."""
    numbers = every.shape[0] * (model.n_parameters if sketch is None else sketch.dim)
    most = max(1, CHUNK_ENTRIES // numbers)
    if memory_limit is not None:
        each = numbers * arrays.itemsize(every)
        most = min(most, max(1, memory_limit // (_SHARE * each)))
    most = min(most, batches.count(x))
    return min(most, batch_of(model, x, sketch, every, memory_limit=memory_limit, points=most)[0])


def _answered(
    answer: Callable[[TangentFeatures], Array], model: Model, every: Array, sketch: Sketch | None, x: Batch
) -> Array:
    """Of one batch; NaN where a feature is not finite: the caller, who knows all points, looks for the first."""
    values = features_of_batch(model, every, sketch, x)
    xp = arrays.namespace(values)
    is_finite = math.isfinite(arrays.largest_magnitude(values))
    found = answer(TangentFeatures(values if is_finite else xp.zeros_like(values), sketch))
    return found if is_finite else xp.full_like(found, math.nan)
