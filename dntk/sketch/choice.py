"""The cheapest sketch of a network that meets an error, or none where exact kernels cost less."""

import dataclasses
import math
from typing import Any

from dntk._checks import check_seed, positive_integer, share
from dntk._progress import task
from dntk.models import batches
from dntk.models.base import Model, checked_inputs, require_model
from dntk.outputs import FeatureOutputs
from dntk.sketch.concentration import LayerProbe, NetworkProbe, probe
from dntk.sketch.cost import exact_cost, reduced_cost, tensor_cost, whole_cost
from dntk.sketch.layout import layout_of
from dntk.sketch.mixed import Mixed
from dntk.sketch.plan import LayerPlan, SketchPlan
from dntk.sketch.sparse_sign import SparseSign
from dntk.sketch.tensor_sketch import TensorSketch
from dntk.types import Array

_WIDTHS = tuple(2**i for i in range(4, 12))
_DIMS = tuple(2**i for i in range(6, 25))
_HASHED = 0.6
"""Share of the squared error that meetings of coordinates may take where layers are reduced, too."""

_WORST_ABOVE = 1.5365
"""From here on no sum Σλχ²₁ of weights 1 has a heavier tail than χ²₁ itself (Székely and Bakirov 2003)."""


def choose(
    model: Model,
    x: Array | None = None,
    *,
    n: int,
    error: float = 0.05,
    confidence: float = 0.95,
    outputs: FeatureOutputs = "each",
    dim: int | None = None,
    points: int = 8,
    seed: int = 0,
) -> SketchPlan:
    """Plan of the cheapest sketch whose mean kernel of n inputs has a relative Frobenius error of at most ``error``.

    For every layer the variance of reducing it, 2Σ_ij‖X_iᵀX_j‖_F²/m, is computed from t × t Grams on a few inputs,
    and the widths m are raised, where most error goes for the least work, until all is met: :class:`Mixed`. It is
    compared with :class:`SparseSign` and :class:`TensorSketch` of the size that they need, and with the exact kernel.
    :class:`Kronecker` and :class:`Mask` are never chosen.

    Parameters
    ----------
    model, x
        Network, and inputs of which ``points`` are looked at, evenly spaced. Without inputs nothing is known of the
        layers: the plan is :class:`SparseSign` of the size that a kernel dominated by one eigenvalue needs.
    n
        Number of inputs that the kernel is for.
    error, confidence
        ‖K̂ − K‖_F ≤ error · ‖K‖_F with this probability over seeds. The mean square of the error is exact or an upper
        bound, given the probe; its tail is that of normal errors, an assumption.
    outputs
        As for :func:`dntk.tangent_features`.
    dim
        Number k of features, if it is given: a power of two is best.
    points
        How many inputs are looked at.
    seed
        Of the sketch.

    Raises
    ------
    TypeError, ValueError
        Inputs that the model does not take; numbers out of range; a ``dim`` too small for the error; a kernel that is
        zero on the inputs looked at.

    Notes
    -----
    Cost: gradients of ``points`` inputs, and t²·(a + b) or b·a·(t + b) operations for each, output and layer.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(64, 20)), rng.normal(size=(2, 64)) / 8
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 20))
    >>> plan = dntk.sketch.choose(model, x, n=40, error=0.1)
    >>> plan.expected_error <= 0.1, plan.exact_is_cheaper  # for so few inputs
    (True, True)
    >>> dntk.tangent_features(model, x, sketch=plan).dim == plan.sketch.dim
    True
    """
    require_model(model)
    n, points, seed = positive_integer("n", n), positive_integer("points", points), check_seed(seed)
    dim = None if dim is None else positive_integer("dim", dim)
    error, confidence = (
        share(name, value, what="between 0 and 1") for name, value in (("error", error), ("confidence", confidence))
    )
    budget = (error / deviations(confidence)) ** 2
    with task("choice of a sketch", total=2) as bar:
        seen = _unseen(model, outputs) if x is None else probe(model, _spaced(model, x, points), outputs, n)
        bar.advance()
        options = [_sparse(seen, budget, dim, seed)]
        if x is not None:
            options += [_mixed(seen, budget, dim, seed), _tensor(seen, budget, dim, seed)]
        bar.advance()
    found = [option for option in options if option is not None]
    if not found:
        needed = (seen.norms + seen.kernel) / budget
        msg = f"`dim`={dim} is too small for error={error} with confidence={confidence}: pass at least {needed:.0f}."
        raise ValueError(msg)

    best = min(found, key=lambda option: _total(option, seen, n))
    probed = 0 if x is None else min(points, batches.count(x))
    return _plan(best, seen, n=n, error=error, confidence=confidence, probed=probed)


def cheapest(
    model: Model,
    x: Array,
    *,
    n: int,
    dim: int,
    most: int | None = None,
    outputs: FeatureOutputs = "each",
    points: int = 8,
    seed: int = 0,
) -> SketchPlan:
    """Plan of the cheapest sketch to ``dim`` features whose error is at most √2 times that of :class:`SparseSign`.

    :class:`TensorSketch`, of three to six times the variance, may take 2·dim or 4·dim features instead, up to ``most``:
    of a perceptron they cost a hundredth of hashing every coordinate. The plan's ``error`` is what it keeps with a
    confidence of 95%. Never dearer than :class:`SparseSign`, which is compared.

    Raises
    ------
    TypeError, ValueError
        As :func:`choose`.
    """
    check_seed(seed)
    seen = probe(model, _spaced(model, x, points), outputs, n)
    plain = _sparse(seen, math.inf, dim, seed)
    assert plain is not None
    budget = 2 * plain.variance
    wider = [size for size in (2 * dim, 4 * dim) if size <= (most or dim)]
    options = [plain, _mixed(seen, budget, dim, seed), *(_tensor(seen, budget, size, seed) for size in (dim, *wider))]
    best = min((option for option in options if option is not None), key=lambda option: _total(option, seen, n))
    error = best.variance**0.5 * deviations(0.95)
    return _plan(best, seen, n=n, error=error, confidence=0.95, probed=min(points, batches.count(x)))


def _total(option: "_Option", seen: NetworkProbe, n: int) -> float:
    """Cost an input of features and of their Gram matrix, of points or of coordinates."""
    k = option.sketch.dim
    return sum(layer.cost for layer in option.layers) + min(n, k) * seen.functionals * k / 2


def _plan(best: "_Option", seen: NetworkProbe, *, n: int, error: float, confidence: float, probed: int) -> SketchPlan:
    exact = sum(exact_cost(layer, seen.functionals, n) for layer in seen.layers)
    cost = _total(best, seen, n)
    return SketchPlan(
        sketch=best.sketch,
        exact_is_cheaper=exact <= cost,
        expected_error=best.variance**0.5,
        error=error,
        confidence=confidence,
        n=n,
        cost=cost,
        exact_cost=exact,
        layers=best.layers,
        probed=probed,
    )


def deviations(confidence: float) -> float:
    """Root mean squares of a kernel's relative error that it exceeds with this probability at most; normal tails."""
    from scipy.stats import chi2

    return math.sqrt(max(float(chi2.ppf(confidence, 1)), _WORST_ABOVE))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Option:
    sketch: Any
    variance: float
    layers: tuple[LayerPlan, ...]


def _sparse(seen: NetworkProbe, budget: float, dim: int | None, seed: int) -> _Option | None:
    """Every coordinate hashed eight times: (Σ‖φ_i‖²‖φ_j‖² + ‖K‖²)/k."""
    size = _fitting(lambda k: (seen.norms + seen.kernel) / k, budget, dim)
    if size is None:
        return None
    layers = tuple(
        LayerPlan(probe=layer, width=None, cost=whole_cost(layer, seen.functionals, 8)) for layer in seen.layers
    )
    return _Option(sketch=SparseSign(size, seed=seed), variance=(seen.norms + seen.kernel) / size, layers=layers)


def _tensor(seen: NetworkProbe, budget: float, dim: int | None, seed: int) -> _Option | None:
    """Convolved count sketches: (6 + 4/k)Σ‖φ_i‖²‖φ_j‖²/k."""

    def variance(k: int) -> float:
        return (6 + 4 / k) * seen.norms / k

    size = _fitting(variance, budget, dim)
    if size is None:
        return None
    layers = tuple(
        LayerPlan(probe=layer, width=None, cost=tensor_cost(layer, seen.functionals, size)) for layer in seen.layers
    )
    return _Option(sketch=TensorSketch(size, seed=seed), variance=variance(size), layers=layers)


def _mixed(seen: NetworkProbe, budget: float, dim: int | None, seed: int) -> _Option | None:
    """Reduced layers: (Σ‖φ_i‖²‖φ_j‖² + ‖K‖²)/k + Σ_l 2Σ‖X_iᵀX_j‖²(1/m + 2/k)."""
    hashed = seen.norms + seen.kernel
    size = _fitting(lambda k: hashed / k, budget * (_HASHED if dim is None else 1), dim)
    if size is None:
        return None
    widths = _widths(seen, budget - hashed / size, size)
    variance = hashed / size + sum(
        _reduction(layer, width, size) for layer, width in zip(seen.layers, widths, strict=True)
    )
    layers = tuple(
        LayerPlan(probe=layer, width=width, cost=_layer_cost(layer, width, seen.functionals, size))
        for layer, width in zip(seen.layers, widths, strict=True)
    )
    return _Option(sketch=_sketch_of(layers, size, seed), variance=variance, layers=layers)


def _widths(seen: NetworkProbe, budget: float, size: int) -> list[int | None]:
    """Widths from the smallest on, raised where most error goes for the least work, until the rest fits."""
    q = seen.functionals
    choices = [_choices(layer, size) for layer in seen.layers]
    chosen = [each[0] for each in choices]

    def steps() -> Any:
        for i, layer in enumerate(seen.layers):
            now = _reduction(layer, chosen[i], size), _layer_cost(layer, chosen[i], q, size)
            for width in choices[i][choices[i].index(chosen[i]) + 1 :]:
                less = now[0] - _reduction(layer, width, size)
                yield (_layer_cost(layer, width, q, size) - now[1]) / max(less, 1e-300), i, width

    while True:
        left = budget - sum(_reduction(layer, width, size) for layer, width in zip(seen.layers, chosen, strict=True))
        best = min(steps(), key=lambda step: step[0], default=None)
        if best is None or (left >= 0 and best[0] > 0):
            return chosen
        chosen[best[1]] = best[2]


def _choices(layer: LayerProbe, size: int) -> list[int | None]:
    """Widths that a parameter may have; one without factors stays whole."""
    return [*(w for w in _WIDTHS if layer.positions and w < layer.columns and w <= size), None]


def _reduction(layer: LayerProbe, width: int | None, size: int) -> float:
    return 0.0 if width is None else 2 * layer.spread * (1 / width + 2 / size)


def _layer_cost(layer: LayerProbe, width: int | None, q: int, dim: int) -> float:
    return whole_cost(layer, q) if width is None else reduced_cost(layer, q, width, dim)


def _sketch_of(layers: tuple[LayerPlan, ...], size: int, seed: int) -> Mixed:
    """The map with the commonest width for all, and the others by name."""
    used = [layer.width for layer in layers if layer.width is not None]
    inner = max(set(used), key=used.count) if used else min(_WIDTHS[0], size)
    others = {
        layer.probe.name: layer.width or layer.probe.columns
        for layer in layers
        if layer.width != inner and layer.probe.columns > 1 and (layer.width or layer.probe.columns > inner)
    }
    return Mixed(size, inner=inner, seed=seed, widths=tuple(sorted(others.items())))


def _fitting(variance: Any, budget: float, dim: int | None) -> int | None:
    """The given number of features if it suffices, else the least power of two that does."""
    if dim is not None:
        return dim if variance(dim) <= budget else None
    return next((k for k in _DIMS if variance(k) <= budget), None)


def _unseen(model: Model, outputs: FeatureOutputs) -> NetworkProbe:
    """Layers of which only the sizes are known, and a kernel dominated by one eigenvalue."""
    layers = tuple(
        LayerProbe(name=m.name, rows=m.rows, columns=m.columns, positions=0, spread=0.0, rho=1.0, share=math.nan)
        for m in layout_of(model)
    )
    return NetworkProbe(layers=layers, norms=1.0, kernel=1.0, functionals=model.n_outputs if outputs == "each" else 1)


def _spaced(model: Model, x: Array, points: int) -> Array:
    """Evenly spaced inputs."""
    x = checked_inputs(model, x)
    total = batches.count(x)
    places = [i * total // points for i in range(points)] if total > points else list(range(total))
    return batches.take(x, model.namespace.asarray(places, device=model.device))
