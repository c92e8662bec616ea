"""Distil the kernel of a network trained on the shifted digits, and set it beside the exact one."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from dntk.backend import get_backend
from dntk.distill.data import KMeans, LastLayer, Random
from dntk.distill.gradients import Solution
from dntk.estimator import DistilledNTK, Fit
from dntk.metrics import accuracy, fidelity
from dntk.random import uniforms
from dntk_studies.demo._exact import exact_lines
from dntk_studies.demo.result import Demo, Line
from dntk_studies.demo.scene import Scene, digits_scene

GRADIENTS = 5
KEPT = 500  # what the estimator's defaults keep, so that other choices are compared at the same size
MEASURED = 3000  # points whose exact kernels of every output, 360 MB, fit easily
STEPS = 7  # and one more in full

Progress = Callable[[str], None]


def run(*, backend: str = "numpy", seed: int = 0, full: bool = False, progress: Progress = lambda _: None) -> Demo:
    """Run the demo; ``progress`` is told the name of each of :data:`STEPS` steps as it begins.

    ``full`` keeps twice as many points as well, which takes as long as half of the rest.

    Raises
    ------
    ValueError
        Unknown backend.
    ImportError
        A backend whose framework is not installed.
    """
    start = time.perf_counter()
    progress("training the network")
    scene = digits_scene(get_backend(backend), seed)
    progress("distilling its kernel")
    solution = Solution(GRADIENTS)
    fit, distilled = _distilled(scene, DistilledNTK(scene.model, gradients=solution, seed=seed))
    progress("certifying it")
    began = time.perf_counter()
    certificate = fit.certificate
    certifying = time.perf_counter() - began
    others = []
    for choice, spec in _other_choices(scene, seed, full).items():
        progress(f"the same with {choice}")
        others.append(dataclasses.replace(_distilled(scene, spec)[1], method=f"distilled, with {choice}"))
    progress(f"exact kernel of {MEASURED:,} images")
    order = np.argsort(uniforms(seed=seed, stream="demo", count=scene.x.shape[0]), kind="stable")
    positions = scene.backend.from_numpy(order[:MEASURED].astype(np.int64))
    measured, exact = exact_lines(scene, positions, fit.ridge)
    return Demo(
        backend=backend,
        points=scene.x.shape[0],
        test_points=scene.x_test.shape[0],
        outputs=scene.model.n_outputs,
        parameters=scene.model.n_parameters,
        kept=fit.losses.kept_points,
        gradients=fit.losses.gradients,
        sketch=repr(fit.sketch),
        network_accuracy=accuracy(scene.f_test, scene.y_test),
        exact=exact,
        measured=measured,
        measured_points=MEASURED,
        distilled=distilled,
        others=tuple(others),
        certificate=certificate,
        certifying=certifying,
        ledger=fit.ledger,
        spectrum=tuple(float(value) for value in scene.backend.to_numpy(fit.spectrum)),
        truncation_rank=fit.losses.truncation_rank,
        seconds=time.perf_counter() - start,
    )


def _other_choices(scene: Scene, seed: int, full: bool) -> dict[str, DistilledNTK]:
    """What the verdict's choices are compared with, one changed at a time."""
    headline = DistilledNTK(scene.model, gradients=Solution(GRADIENTS), seed=seed)
    sizes = (KEPT // 5, 2 * KEPT) if full else (KEPT // 5,)
    nearest = {f"{size:,} points": LastLayer(KMeans(size, seed=seed)) for size in sizes}
    return {
        "all gradients of its points": dataclasses.replace(headline, gradients=None),
        "as many random points": dataclasses.replace(headline, data=Random(KEPT, seed=seed)),
    } | {name: dataclasses.replace(headline, data=data) for name, data in nearest.items()}


def _distilled(scene: Scene, spec: DistilledNTK) -> tuple[Fit, Line]:
    """The fit and its price, predictions of the test images included and a certificate not."""
    start = time.perf_counter()
    fit = spec.fit(scene.x)
    predicted = fit.predict(scene.x_test)
    seconds = time.perf_counter() - start
    line = Line(
        method="distilled",
        rows=fit.ledger.total().jacobian_rows,
        nbytes=max(cost.nbytes for cost in fit.ledger.stages),
        seconds=seconds,
        accuracy=accuracy(predicted, scene.y_test),
        fidelity=fidelity(predicted, scene.f_test),
    )
    return fit, line
