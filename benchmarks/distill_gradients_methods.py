"""Every way to keep s gradients of a scene, each solved as the paper does and in its span."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from distill_gradients_scenes import Scene
from numpy.typing import NDArray

import dntk.distill.data
from dntk import DistilledGradients, TangentFeatures
from dntk.distill.gradients import Krylov, LocalGlobalSearch, Principal, Solution, Streaming
from dntk.distilled_gradients import distil_along, row_basis, trace_residual
from dntk.metrics import accuracy, fidelity, mean_squared_error
from dntk.solve import ridge, same_span
from dntk_studies.demo.methods.unseen import grouped_accuracy

PAPER, SPAN, ONE_PASS, SECOND_PASS = "paper", "same span", "one pass", "second pass"
CHUNK = 100
SELECTIONS = ("Random", "FarthestPoint", "KMeans", "Leverage", "RPCholesky")
"""Coresets of the paper's Figure 3 by their names in dntk.distill.data; those that are not there are named."""

Predict = Callable[[TangentFeatures], NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What one method keeps at one size."""

    data: str
    seed: int
    method: str
    solve: str
    budget: int
    size: int
    accuracy: float
    fidelity: float
    mse: float
    kernel_error: float | None
    unseen: float | None


def rows(scene: Scene, sizes: list[int]) -> Iterator[Row]:
    """The regression on all points, then every method at every size."""
    m = len(scene.phi)
    full = ridge(scene.phi, scene.targets, ridge=scene.ridge)
    groups = ridge(scene.phi, scene.groups, ridge="loo")
    yield _row(scene, ("all points", PAPER, m), m, full.predict, 0.0, groups.predict)
    for size in sizes:
        for name, distil in _distillers(scene, size).items():
            grads = distil()
            for solve in (PAPER, SPAN):
                yield _solved(scene, name, solve, size, grads)
        for mode in (True, False):
            yield from _streamed(scene, size, per_output=mode)
        for name in SELECTIONS:
            if hasattr(dntk.distill.data, name):
                yield from _selected(scene, name, size)


def missing() -> list[str]:
    """Selections that this dntk does not have."""
    return [name for name in SELECTIONS if not hasattr(dntk.distill.data, name)]


def _distillers(scene: Scene, size: int) -> dict[str, Callable[[], DistilledGradients]]:
    phi, y, lam = scene.phi, scene.targets, scene.ridge
    search = LocalGlobalSearch(variances=(0.95,), size=size, seed=scene.seed)
    return {
        "LocalGlobal": lambda: search.select(phi, y, scene.validation, scene.validation_targets, ridge=lam).gradients,
        "Principal": lambda: Principal(size).distill(phi, y),
        "Principal, per class": lambda: Principal(size, per_output=True).distill(phi, y),
        "Krylov": lambda: Krylov(size).distill(phi, y),
        "Krylov, shared": lambda: Krylov(size, per_output=False).distill(phi, y),
        "Solution": lambda: Solution(size, ridge=lam).distill(phi, y),
        "Solution, shared": lambda: Solution(size, ridge=lam, per_output=False).distill(phi, y),
    }


def _solved(scene: Scene, name: str, solve: str, budget: int, grads: DistilledGradients) -> Row:
    fit, groups = (
        (ridge(grads, ridge=scene.ridge), ridge(grads, scene.groups))
        if solve == PAPER
        else (same_span(grads, ridge=scene.ridge), same_span(grads, scene.groups))
    )
    return _row(scene, (name, solve, budget), grads.size, fit.predict, grads.trace_residual, groups.predict)


def _streamed(scene: Scene, size: int, *, per_output: bool) -> Iterator[Row]:
    """One pass in chunks with both tasks, then a second one for the solve in the span."""
    name = "Streaming" if per_output else "Streaming, shared"
    parts = [(start, min(start + CHUNK, len(scene.phi))) for start in range(0, len(scene.phi), CHUNK)]
    tasks = np.stack([scene.targets, scene.groups])
    found = Streaming(size, per_output=per_output).stream((scene.phi[a:b], tasks[:, a:b, :]) for a, b in parts)
    basis = row_basis(found.rows).astype(scene.phi.values.dtype)
    lost = trace_residual(scene.phi.values, scene.phi.values @ basis.mT)
    lam = ridge(scene.phi, scene.groups, ridge="loo").ridge
    fit, groups = found.solve(scene.ridge), found.solve(lam, task=1)
    yield _row(scene, (name, ONE_PASS, size), size, fit.predict, lost, groups.predict)
    again = [scene.phi[a:b] for a, b in parts]
    fit, groups = found.same_span(again, scene.ridge), found.same_span(again, lam, task=1)
    yield _row(scene, (name, SECOND_PASS, size), size + 1, fit.predict, lost, groups.predict)


def _selected(scene: Scene, name: str, size: int) -> Iterator[Row]:
    """The gradients of s points: with their own s targets, and with all targets."""
    make = getattr(dntk.distill.data, name)
    seeded = {"seed": scene.seed} if "seed" in {f.name for f in dataclasses.fields(make)} else {}
    chosen = np.unique(np.asarray(make(size=size, **seeded).select(scene.phi).indices))
    own, labels = scene.phi[chosen], scene.groups[chosen]
    alone = ridge(own, scene.targets[chosen], ridge=scene.ridge)
    groups = ridge(own, labels, ridge="loo")
    directions = np.zeros((len(scene.phi), len(chosen)), dtype=scene.phi.values.dtype)
    directions[chosen, np.arange(len(chosen))] = 1
    grads = distil_along(scene.phi, scene.targets, directions)
    yield _row(scene, (name, PAPER, size), len(chosen), alone.predict, grads.trace_residual, groups.predict)
    yield _solved(scene, name, SPAN, size, grads)


def noisy_rows(scene: Scene, sizes: list[int]) -> Iterator[Row]:
    """Accuracy on clean labels after a fifth of the labels was flipped, at the ridge that leave-one-out chooses."""
    fit = ridge(scene.phi, scene.noisy, ridge="loo")
    m = len(scene.phi)
    yield _row(scene, ("all points", "flipped labels", m), m, fit.predict, 0.0, None)
    for size in sizes:
        for name, make in (
            ("Principal", Principal(size)),
            ("Principal, per class", Principal(size, per_output=True)),
            ("Solution", Solution(size, ridge=fit.ridge)),
            ("Krylov", Krylov(size)),
        ):
            grads = make.distill(scene.phi, scene.noisy)
            found = same_span(grads, ridge=fit.ridge)
            yield _row(scene, (name, "flipped labels", size), size, found.predict, grads.trace_residual, None)


def _row(
    scene: Scene, key: tuple[str, str, int], size: int, predict: Predict, error: float | None, groups: Predict | None
) -> Row:
    predicted = predict(scene.test)
    return Row(
        data=scene.name,
        seed=scene.seed,
        method=key[0],
        solve=key[1],
        budget=key[2],
        size=size,
        accuracy=accuracy(predicted, scene.labels),
        fidelity=fidelity(predicted, scene.network),
        mse=mean_squared_error(predicted, scene.network),
        kernel_error=error,
        unseen=None if groups is None else grouped_accuracy(groups(scene.test), scene.labels),
    )
