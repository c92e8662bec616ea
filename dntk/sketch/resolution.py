"""What is meant where a sketch can be given: a sketch, a plan, all coordinates, or "auto"."""

import math
from typing import Any, Literal, TypeAlias

from dntk._checks import require_kind
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs.functionals import FeatureOutputs
from dntk.sketch.base import Sketch
from dntk.sketch.choice import cheapest
from dntk.sketch.plan import SketchPlan
from dntk.types import Array

SMALL = 4096
"""Parameters up to which gradients are kept whole where the sketch is chosen automatically."""

LEAST, LARGEST = 1024, 8192
"""Features that are chosen automatically."""

AnySketch: TypeAlias = Sketch | SketchPlan | Literal["auto"] | None


def automatic(model: Model, x: Array, *, n: int, outputs: FeatureOutputs = "each", seed: int = 0) -> SketchPlan | None:
    """What ``"auto"`` means: the cheapest sketch to four times as many features as points, within 1,024 and 8,192.

    Four times as many keep every kernel K^c of n points regular and its entries right to about 1/√(4n); the plan says
    what is expected of the mean kernel; up to four times as many of those where they cost less for the same error, as
    of perceptrons. None, all P coordinates, for networks of up to 4,096 parameters, and where
    there would be more than half as many features as parameters.
    """
    dim = min(LARGEST, max(LEAST, 2 ** math.ceil(math.log2(4 * n))))
    if model.n_parameters <= max(SMALL, 2 * dim):
        return None
    most = min(LARGEST, model.n_parameters // 2)
    return cheapest(model, x, n=n, dim=dim, most=most, outputs=outputs, seed=seed)


def resolved(
    sketch: AnySketch, model: Model, x: Array, *, outputs: FeatureOutputs = "each", seed: int = 0
) -> Sketch | None:
    """The sketch that is meant for features of the points ``x``; None for all P coordinates.

    Raises
    ------
    TypeError, ValueError
        It is none of the above, or a text other than ``"auto"``.
    """
    check_sketch(sketch)
    if isinstance(sketch, str):
        return resolved(automatic(model, x, n=batches.count(x), outputs=outputs, seed=seed), model, x)
    return sketch.sketch if isinstance(sketch, SketchPlan) else sketch


def check_sketch(sketch: Any) -> None:
    """Raise unless ``sketch`` is something that :func:`resolved` takes."""
    if isinstance(sketch, str) and sketch != "auto":
        msg = f"`sketch`={sketch!r}: expected a sketch, a plan, None, or 'auto'."
        raise ValueError(msg)
    if sketch is not None and not isinstance(sketch, str):
        expected = (
            "a sketch such as dntk.sketch.SparseSign(4096), a plan of dntk.sketch.choose, 'auto', or None for all "
            "parameters"
        )
        require_kind("sketch", sketch, SketchPlan | Sketch, expected=expected)
