"""The marginal likelihood of a Gaussian process as a function of λ, from one eigendecomposition."""

import dataclasses
import math

import numpy as np

from dntk import arrays
from dntk.backend import backend_of
from dntk.solve.choice import check_grid
from dntk.solve.problem import RidgeProblem


@dataclasses.dataclass(frozen=True)
class MarginalLikelihood:
    """λ and σ² of largest marginal likelihood, summed over outputs: λ on a grid, then by golden section.

    σ_c² has a closed form at each λ, yᵀ(K + λI)⁻¹y/n. One eigendecomposition of min(n, k); ``grid=None``: 41 values
    between 1e-8 and 1e2 times the kernel's mean diagonal.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(40, 8))), rng.normal(size=(40, 1))
    >>> best = dntk.solve.gaussian_process(phi, y, noise=dntk.solve.MarginalLikelihood())
    >>> given = dntk.solve.gaussian_process(phi, y, noise=1.0)
    >>> bool(best.log_marginal_likelihood[0] >= given.log_marginal_likelihood[0])
    True
    """

    grid: tuple[float, ...] | None = None
    refinements: int = 30

    def __post_init__(self) -> None:
        check_grid(self.grid)


def most_likely_ridge(problem: RidgeProblem, rule: MarginalLikelihood, signal: float | None) -> float:
    """λ of largest likelihood: the best of the grid, then golden section between its neighbours in log λ."""
    profile = _Profile.of(problem, signal)
    ridges = sorted(r for r in problem.ridges(rule.grid) if r >= profile.floor) or [max(problem.ridges(rule.grid))]
    values = [profile(r) for r in ridges]
    best = int(np.argmax(values))
    low, high = (math.log(ridges[i]) for i in (max(best - 1, 0), min(best + 1, len(ridges) - 1)))
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(rule.refinements):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if profile(math.exp(left)) >= profile(math.exp(right)):
            high = right
        else:
            low = left
    refined = math.exp((low + high) / 2)
    return refined if profile(refined) > values[best] else ridges[best]


@dataclasses.dataclass(frozen=True)
class _Profile:
    """log p(y) up to a constant, summed over outputs, at the best σ² or a given one; on the host, in float64."""

    values: np.ndarray
    squares: np.ndarray
    rest: np.ndarray
    points: int
    signal: float | None
    floor: float

    @classmethod
    def of(cls, problem: RidgeProblem, signal: float | None) -> "_Profile":
        """Eigenvalues (g, d), squared components of y along their vectors (g, d, q), and what is outside (g, q)."""
        xp = arrays.namespace(problem.features)
        if problem.dual:
            e, vectors = xp.linalg.eigh(problem.gram)
            components = (vectors.mT @ problem.targets) ** 2
            floor = problem.points * arrays.epsilon(e) * float(xp.max(e))
            outside = 0 * xp.sum(components, axis=1)
        else:
            statistics = problem.statistics
            spectrum = statistics.spectrum()
            e, floor = spectrum.values, statistics.rounding_floor
            noise = xp.max(e, axis=1, keepdims=True) * (problem.points * arrays.epsilon(e))
            sound = e > noise
            safe = xp.where(sound, e, xp.ones_like(e))[:, :, None]
            components = xp.where(sound[:, :, None], spectrum.products**2 / safe, 0 * spectrum.products)
            outside = xp.clip(spectrum.squares - xp.sum(components, axis=1), min=0)
        host = backend_of(e).to_numpy
        found = [np.asarray(host(part), dtype=np.float64) for part in (xp.clip(e, min=0), components, outside)]
        return cls(found[0], found[1], found[2], problem.points, signal, floor)

    def __call__(self, ridge: float) -> float:
        """Profile likelihood at λ."""
        e = self.values
        quadratic = np.sum(self.squares / (e + ridge)[:, :, None], axis=1) + self.rest / ridge
        log_det = np.sum(np.log(e + ridge), axis=1) + (self.points - e.shape[1]) * math.log(ridge)
        if self.signal is None:
            spread = self.points * np.log(np.maximum(quadratic, np.finfo(np.float64).tiny))
        else:
            spread = quadratic / self.signal
        return float(-0.5 * np.sum(spread + log_det[:, None]))
