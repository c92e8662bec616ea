"""Regression with the exact kernel of every output: measured at what fits, extrapolated to all points."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from dntk.kernels._ntk import ntk
from dntk.ledger import LedgerRecorder
from dntk.metrics import accuracy, fidelity
from dntk_studies.demo.result import Line
from dntk_studies.demo.scene import Scene

_WIDTH = 4  # bytes of a float32


def exact_lines(scene: Scene, positions: Any, ridge: float) -> tuple[Line, Line]:
    """Lines of the points at ``positions``, measured, and of all points, extrapolated from them.

    The exact route gets what favours it: kernels layer by layer instead of a Jacobian, one float32 Cholesky
    factorisation per output by SciPy, and λ for nothing.
    """
    x = scene.model.namespace.take(scene.x, positions, axis=0)
    count, outputs = x.shape[0], scene.model.n_outputs
    recorder = LedgerRecorder()
    with recorder.stage("exact"):
        kernel, kernel_seconds = _timed(lambda: scene.backend.to_numpy(ntk(scene.model, x, outputs="each")))
    targets = scene.backend.to_numpy(scene.model(x))
    dual, solve_seconds = _timed(lambda: [solved(kernel[c], targets[:, c], ridge) for c in range(outputs)])
    cross, cross_seconds = _timed(lambda: scene.backend.to_numpy(ntk(scene.model, scene.x_test, x, outputs="each")))
    predicted = scene.backend.from_numpy(_products(cross, dual))
    growth = scene.x.shape[0] / count
    measured = Line(
        method=f"exact kernel, {count:,} of the images",
        rows=recorder.ledger().total().jacobian_rows,
        nbytes=_WIDTH * outputs * count**2,
        seconds=kernel_seconds + solve_seconds + cross_seconds,
        accuracy=accuracy(predicted, scene.y_test),
        fidelity=fidelity(predicted, scene.f_test),
    )
    extrapolated = Line(
        method=f"exact kernel, all {scene.x.shape[0]:,}",
        rows=outputs * scene.x.shape[0],
        nbytes=_WIDTH * outputs * scene.x.shape[0] ** 2,
        seconds=grown(kernel_seconds, solve_seconds, cross_seconds, growth=growth),
        accuracy=None,
        fidelity=None,
        extrapolated=True,
    )
    return measured, extrapolated


def grown(kernel: float, solve: float, predict: float, *, growth: float) -> float:
    """Seconds of ``growth`` times as many points: kernels grow as n², factorisations as n³, predictions as n."""
    return kernel * growth**2 + solve * growth**3 + predict * growth


def solved(kernel: Any, targets: Any, ridge: float) -> Any:
    """Dual weights of kernel regression, (K + λI)⁻¹y."""
    shifted = kernel.copy()
    shifted.reshape(-1)[:: shifted.shape[0] + 1] += ridge
    return cho_solve(cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False), targets)


def _products(cross: Any, dual: list[Any]) -> Any:
    return np.stack([cross[c] @ weights for c, weights in enumerate(dual)], axis=1)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start
