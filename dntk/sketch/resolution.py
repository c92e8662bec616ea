"""What is meant where a sketch can be given: a sketch, a plan, all coordinates, or "auto"."""

import math
from typing import Any, Literal, TypeAlias

from dntk._checks import require_kind
from dntk.arrays import itemsize
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

SHARE, SMALLEST_SHARE = 16, 4
"""Features for every point: as a regression wants them, and the least for which a kernel stays regular. Of a ResNet-18
and 500 images the squared error to the network is 0.77% of the outputs' variance with 4 and 0.50% with 16
(docs/reproduction.md, like for like)."""

MEMORY = 2**30
"""Bytes of features above which there are fewer than sixteen for every point: 1 GiB."""

AnySketch: TypeAlias = Sketch | SketchPlan | Literal["auto"] | None


def automatic(
    model: Model,
    x: Array,
    *,
    n: int,
    outputs: FeatureOutputs = "each",
    seed: int = 0,
    memory: int = MEMORY,
) -> SketchPlan | None:
    """What ``"auto"`` means: the cheapest sketch to sixteen times as many features as points, within 1,024 and 8,192.

    Four times as many keep every kernel K^c of n points regular and its entries right to about 1/√(4n); a regression
    wants more of them, and for most networks they cost the same time (docs/reproduction.md, like for like). No more
    than have room in ``memory`` where that leaves four times as many. The plan says what is expected of the mean
    kernel; up to four times as many of those where they cost less for the same error, as of perceptrons. None, all P
    coordinates, for networks of up to 4,096 parameters, and where there would be more than half as many features as
    parameters.

    Parameters
    ----------
    model, x
        Network, and inputs of which a few are looked at.
    n
        Number of points that features are for.
    outputs, seed
        As for :func:`dntk.sketch.choose`.
    memory
        Bytes that the features of n points may take; default 1 GiB.

    Raises
    ------
    TypeError, ValueError
        As :func:`dntk.sketch.choose`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 20))
    >>> small = dntk.MLP(weights=(rng.normal(size=(2, 20)),), biases=(None,))
    >>> dntk.sketch.automatic(small, x, n=40) is None  # 40 parameters: all of them are kept
    True
    >>> weights = rng.normal(size=(512, 20)), rng.normal(size=(2, 512)) / 20
    >>> large = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> dntk.sketch.automatic(large, x, n=40).sketch.dim
    1024
    """
    least = min(LARGEST, max(LEAST, _power_of_two(SMALLEST_SHARE * n)))
    dim = min(LARGEST, max(LEAST, _power_of_two(SHARE * n)))
    row = n * (model.n_outputs if outputs == "each" else 1) * itemsize(next(iter(model.parameters.values())))
    while dim > least and dim * row > memory:
        dim //= 2
    if model.n_parameters <= max(SMALL, 2 * dim):
        return None
    most = min(LARGEST, model.n_parameters // 2, max(dim, memory // row))
    return cheapest(model, x, n=n, dim=dim, most=most, outputs=outputs, seed=seed)


def _power_of_two(least: int) -> int:
    return 2 ** math.ceil(math.log2(least))


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
