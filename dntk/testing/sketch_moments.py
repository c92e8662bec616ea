"""What a sketch keeps on average over its seeds, and what it states of its own error."""

import dataclasses
import functools
from typing import Any

import numpy as np
import scipy.stats

from dntk.sketch.base import Sketch
from dntk.sketch.error import FROBENIUS, SUBSPACE, SketchError
from dntk.sketch.layout import layout_of_shapes
from dntk.testing.allowances import gamma
from dntk.testing.place import Place, host64
from dntk.testing.properties import require
from dntk.testing.sketch_cases import drawn_sketch
from dntk.testing.spectrum_cases import Host

SEEDS = 200
SIZE = 16
LAYOUT = layout_of_shapes({"w": (3, 4), "b": (4,)})
STANDARD_ERRORS = 7
SURPRISE = 1e-9
"""Probability at which a number of failures is held against the statement."""

FAILURES = (0.3, 0.05)
RAREST = 1e-3
"""Failure probability up to which a statement is integrated."""


@dataclasses.dataclass(frozen=True)
class SketchMoments:
    """A sketch of 16 coordinates, three rows and four columns and four more, under the seeds 0 to 199."""

    sketch: Sketch
    place: Place

    @functools.cached_property
    def matrices(self) -> Host:
        """S transposed, (seeds, 16, k), in float64."""
        identity = self.place.array(np.eye(SIZE), self.place.dtypes[-1])
        return np.stack([host64(drawn_sketch(self.sketch, seed, LAYOUT).apply(identity)) for seed in range(SEEDS)])

    def unbiased(self) -> None:
        """Entries of SᵀS − I, and its trace, average to zero within seven standard errors."""
        grams = self.matrices @ self.matrices.transpose(0, 2, 1) - np.eye(SIZE)
        slack = 4 * gamma(self.sketch.dim + 8, self.place.dtypes[-1]) * np.max(np.sum(self.matrices**2, axis=2))
        for name, errors in (("SᵀS − I", grams), ("tr SᵀS/P − 1", np.trace(grams, axis1=1, axis2=2)[:, None] / SIZE)):
            mean, error = np.mean(errors, axis=0), np.std(errors, axis=0, ddof=1) / SEEDS**0.5
            excess = np.abs(mean) - STANDARD_ERRORS * error - slack
            worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
            found = f"{mean[worst]:.4g} with a standard error of {error[worst]:.2g}"
            place = tuple(int(i) for i in worst)
            require(np.all(excess <= 0), f"over {SEEDS} seeds, {name} averages to {found} at {place}")

    def stated_error(self) -> None:
        """Errors exceed ε(1 − failure) no more often than stated, and their second moments are what that implies."""
        bound: Any = drawn_sketch(self.sketch, 0, LAYOUT)
        for kind, rows in _feature_rows().items():
            stated: dict[float, SketchError] = {f: bound.error(len(rows), confidence=1 - f) for f in FAILURES}
            for failure, error in stated.items():
                require(error.measure in (FROBENIUS, SUBSPACE), f"error() states an unknown measure, {error.measure!r}")
                asked = 1 - failure
                require(error.confidence == asked, f"asked for confidence {asked}, error() states {error.confidence}")
            found = self._errors(rows, stated[FAILURES[0]].measure)
            for failure, error in stated.items():
                count = int(np.sum(found > float(error) * (1 + 1e-9) + 1e-9))
                most = int(scipy.stats.binom.isf(SURPRISE, SEEDS, failure))
                message = f"{count} of {SEEDS} seeds exceed ε = {float(error):.3g} ({error.measure}) on {kind} rows"
                require(count <= most, f"{message}, which was stated at confidence {1 - failure:g}")
            self._moment(found, bound, len(rows), kind)

    def _errors(self, rows: Host, measure: str) -> Host:
        """Relative error of the kernel of rows under every seed."""
        if measure == SUBSPACE:
            rows = np.linalg.svd(rows, full_matrices=False)[2]
        sketched = rows @ self.matrices
        change = sketched @ sketched.transpose(0, 2, 1) - rows @ rows.T
        if measure == SUBSPACE:
            return np.linalg.norm(change, 2, axis=(1, 2))
        return np.linalg.norm(change, axis=(1, 2)) / np.sum(rows**2)

    def _moment(self, found: Host, bound: Any, n: int, kind: str) -> None:
        """E min(X, ε(δ₀))² ≤ ∫ ε(δ)² dδ + δ₀ ε(δ₀)², as P(X > ε(δ)) ≤ δ for all δ says; Chebyshev's states E X²."""
        squares = [float(bound.error(n, confidence=1 - f)) ** 2 * f for f in FAILURES]
        if abs(squares[0] - squares[1]) <= 1e-9 * squares[0]:
            moment = squares[0]
        else:
            edges = np.geomspace(RAREST, 1, 400)
            values = [float(bound.error(n, confidence=1 - float(f))) ** 2 for f in edges[:-1]]  # ε falls: an upper sum
            moment = float(np.sum(np.diff(edges) * values)) + RAREST * values[0]
            found = np.minimum(found, values[0] ** 0.5)
        mean, error = float(np.mean(found**2)), float(np.std(found**2, ddof=1)) / SEEDS**0.5
        message = (
            f"the squared error of the kernel of {kind} rows averages to {mean:.3g}, but error() implies {moment:.3g}"
        )
        require(mean <= moment + STANDARD_ERRORS * error + 1e-9, f"{message} (standard error {error:.2g})")


def _feature_rows() -> dict[str, Host]:
    """Easy and hard rows: of one position (ρ = 1), of one coordinate each, and all the same."""
    rng = np.random.default_rng(1)
    outer = np.zeros((3, SIZE))
    for row in outer:
        row[:12] = np.outer(rng.standard_normal(3), rng.standard_normal(4)).ravel()
    return {
        "dense": rng.standard_normal((3, SIZE)),
        "rank-one": outer,
        "one-hot": np.eye(SIZE)[:3],
        "constant": np.ones((1, SIZE)),
    }
