"""What a sketch does to the kernel of a given network: measured on a sample of its inputs."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import integer, share
from dntk._text import printable
from dntk.backend import backend_of
from dntk.kernels._ntk import ntk
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs.functionals import cotangents_for
from dntk.random import uniforms
from dntk.sketch.application import bind, sketched_gradients
from dntk.sketch.base import Sketch
from dntk.sketch.plan import SketchPlan
from dntk.types import Array

_LEADING = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds and its confidence interval (Student's t)."""

    mean: float
    lower: float
    upper: float

    @printable
    def __str__(self) -> str:
        return f"{self.mean:.2%} [{self.lower:.2%}, {self.upper:.2%}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SketchDiagnosis:
    """Measured errors of a family of sketches on one network and one sample of inputs.

    Parameters
    ----------
    sketch
        The sketch that was asked about; every draw has its own seed.
    points, draws, confidence
        Inputs in the sample, seeds tried, and the level of the intervals.
    gram_error
        ‖K̂ − K‖_F/‖K‖_F of the mean kernel.
    eigenvalue_errors
        |λ̂_i − λ_i|/λ_i of the leading eigenvalues, at most ten that exceed rounding, the largest first.
    worst_eigenvalue_error
        The largest of them, of every draw.
    """

    sketch: str
    points: int
    draws: int
    confidence: float
    gram_error: Interval
    eigenvalue_errors: tuple[Interval, ...]
    worst_eigenvalue_error: Interval

    @printable
    def __str__(self) -> str:
        lines = [
            f"{self.sketch} on {self.points} inputs, {self.draws} seeds, {self.confidence:.0%} intervals of the mean",
            f"kernel, relative Frobenius error     {self.gram_error}",
            f"worst of {len(self.eigenvalue_errors)} leading eigenvalues       {self.worst_eigenvalue_error}",
        ]
        lines += [f"eigenvalue {i + 1:<2}                        {e}" for i, e in enumerate(self.eigenvalue_errors)]
        return "\n".join(lines)


def diagnose(
    model: Model,
    x: Array,
    sketch: Sketch | SketchPlan,
    *,
    sample: int = 64,
    draws: int = 8,
    seed: int = 0,
    confidence: float = 0.95,
) -> SketchDiagnosis:
    """Errors of the sketched mean kernel against the exact one, on random inputs and over several seeds.

    Parameters
    ----------
    model, x
        Network and inputs of which ``sample`` are taken at random (all, where there are fewer).
    sketch
        Which family and size, or a plan of :func:`dntk.sketch.choose`; its own seed is not used.
    sample, draws
        Numbers of inputs and of independent sketches.
    seed
        Of the sample; the sketches have the seeds ``seed`` + 1, ``seed`` + 2, ...
    confidence
        Level of the intervals, over sketches: they say nothing about inputs outside the sample.

    Raises
    ------
    ValueError
        Fewer than two draws, no sample, a level outside (0, 1), or a kernel that is zero on the sample.
    TypeError, ValueError
        As :func:`dntk.ntk` and :func:`dntk.tangent_features`.

    Notes
    -----
    Cost: the exact kernel of the sample and ``draws`` times its features; eigenvalues in float64 on the host.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(64, 20)), rng.normal(size=(2, 64)) / 8
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 20))
    >>> found = dntk.sketch.diagnose(model, x, dntk.sketch.Gaussian(256))
    >>> found.points, found.draws, len(found.eigenvalue_errors)
    (40, 8, 10)
    >>> print(found)
    Gaussian(dim=256, seed=0, n_parameters=None) on 40 inputs, 8 seeds, 95% intervals of the mean
    kernel, relative Frobenius error     17.65% [16.31%, 18.99%]
    worst of 10 leading eigenvalues       9.39% [8.07%, 10.72%]
    ...
    """
    _check_settings(sample, draws, confidence)
    if isinstance(sketch, SketchPlan):
        sketch = sketch.sketch
    points = _sampled(x, sample, seed)
    exact = _host(ntk(model, points))
    if not np.any(exact):
        msg = "the kernel is zero on the sample: no parameter changes an output, and no relative error is defined."
        raise ValueError(msg)
    leading = _leading(exact, float(model.namespace.finfo(model.dtype).eps))
    gram, eigen = [], []
    for draw in range(draws):
        drawn = dataclasses.replace(sketch, seed=(seed + 1 + draw) % 2**64)  # type: ignore[type-var]
        found = _host(_mean_kernel(model, points, drawn))
        gram.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
        eigen.append(np.abs(_spectrum(found)[: leading.size] - leading) / leading)
    errors = np.stack(eigen)
    return SketchDiagnosis(
        sketch=repr(sketch),
        points=points.shape[0],
        draws=draws,
        confidence=confidence,
        gram_error=_interval(np.asarray(gram), confidence),
        eigenvalue_errors=tuple(_interval(column, confidence) for column in errors.T),
        worst_eigenvalue_error=_interval(np.max(errors, axis=1), confidence),
    )


def _check_settings(sample: int, draws: int, confidence: float) -> None:
    for name, value, least in (("sample", sample, 1), ("draws", draws, 2)):
        integer(name, value, least=least)
    share("confidence", confidence, what="between 0 and 1")


def _sampled(x: Array, sample: int, seed: int) -> Array:
    """Random inputs without replacement, in their order."""
    arrays.namespace(x)
    arrays.require_points("x", x)
    if batches.count(x) <= sample:
        return x
    chosen = np.sort(np.argsort(uniforms(seed=seed, stream="diagnose", count=batches.count(x)), kind="stable")[:sample])
    index = backend_of(x).from_numpy(chosen, device=arrays.device_of(x))
    return batches.take(x, index)


def _mean_kernel(model: Model, x: Array, sketch: Sketch) -> Float[Array, "n n"]:
    """(1/C) Σ_c Ψ^cΨ^cᵀ of sketched features."""
    dtype = arrays.kernel_dtype(model.namespace, model.dtype)
    every = cotangents_for("each", model.n_outputs, xp=model.namespace, dtype=dtype, device=model.device)
    values = sketched_gradients(model, x, bind(sketch, model), every)
    return model.namespace.mean(backend_of(values).gram(values), axis=0)


def _host(kernel: Float[Array, "n n"]) -> np.ndarray:
    return np.asarray(backend_of(kernel).to_numpy(kernel), dtype=np.float64)


def _spectrum(kernel: np.ndarray) -> np.ndarray:
    """Eigenvalues, descending."""
    return np.linalg.eigvalsh((kernel + kernel.T) / 2)[::-1]


def _leading(kernel: np.ndarray, epsilon: float) -> np.ndarray:
    """The ten largest eigenvalues at most: those of which rounding of the kernel's entries is below a hundredth."""
    values = _spectrum(kernel)
    return values[values > 100 * kernel.shape[0] * epsilon * values[0]][:_LEADING]


def _interval(values: np.ndarray, confidence: float) -> Interval:
    from scipy.stats import t

    mean = float(np.mean(values))
    half = float(t.isf((1 - confidence) / 2, values.size - 1)) * float(np.std(values, ddof=1)) / math.sqrt(values.size)
    return Interval(mean=mean, lower=max(0.0, mean - half), upper=mean + half)
