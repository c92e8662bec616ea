"""The choices of s gradients that Figure 3 compares; a new one is one line of the registry."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays, distill
from dntk.distill.data import DataSelector
from dntk.distill.gradients import GradientDistiller, LocalGlobalSearch, Streaming
from dntk.distilled_gradients import DistilledGradients, distil_along, row_basis, trace_residual
from dntk.features import TangentFeatures
from dntk.solve import ridge, same_span
from dntk.types import Array
from dntk_studies.reproduce.scene import Scene


@runtime_checkable
class Fit(Protocol):
    """A regression that predicts from features."""

    def predict(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """Predicted outputs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A scene, its eigenpairs of K̄, and how many gradients are asked for."""

    scene: Scene
    spectra: tuple[Array, Array]
    size: int
    seed: int


PAPER, SAME_SPAN, SOLVES = "paper", "same span", ("paper", "same span")
"""How a regression is solved on s gradients: with s targets, or with all in the span of the gradients."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """s gradients: the part of the kernel that they lose, and regressions on them by kind of solve.

    Every kind has one of the network's outputs and one of groupings of the classes. ``gradients`` are there where the
    method's result is of that kind.
    """

    size: int
    trace_residual: float
    outputs: Mapping[str, Callable[[], Fit]]
    groups: Mapping[str, Callable[[], Fit]]
    gradients: DistilledGradients | None = None


Method = Callable[[Request], Chosen]


def _of_gradients(scene: Scene, grads: DistilledGradients) -> Chosen:
    strength = scene.ridge
    return Chosen(
        size=grads.size,
        trace_residual=grads.trace_residual,
        outputs={PAPER: lambda: ridge(grads, ridge=strength), SAME_SPAN: lambda: same_span(grads, ridge=strength)},
        groups={
            PAPER: lambda: ridge(grads, scene.groups, ridge=strength),
            SAME_SPAN: lambda: same_span(grads, scene.groups, ridge=strength),
        },
        gradients=grads,
    )


def points(selector: Callable[[int, int], DataSelector]) -> Method:
    """Real gradients: those of s points that ``selector(size, seed)`` chooses."""

    def choose(asked: Request) -> Chosen:
        phi = asked.scene.phi
        xp = arrays.namespace(phi.values)
        found = selector(asked.size, asked.seed).select(phi).indices
        every = xp.arange(len(phi), dtype=found.dtype, device=arrays.device_of(phi.values))
        unit_vectors = xp.astype(every[:, None] == found, phi.values.dtype)
        return _of_gradients(asked.scene, distil_along(phi, asked.scene.outputs, unit_vectors, spectra=asked.spectra))

    return choose


def along(distiller: Callable[[int, float], GradientDistiller]) -> Method:
    """Synthetic gradients of ``distiller(size, ridge)``."""

    def choose(asked: Request) -> Chosen:
        scene = asked.scene
        return _of_gradients(scene, distiller(asked.size, scene.ridge).distill(scene.phi, scene.outputs))

    return choose


def local_global(asked: Request) -> Chosen:
    """Algorithm 1 within a budget: of eight configurations the one of least error on validation points."""
    scene = asked.scene
    search = LocalGlobalSearch(variances=(0.95,), size=asked.size, seed=asked.seed)
    found = search.select(scene.phi, scene.outputs, scene.validation, scene.outputs_validation, ridge=scene.ridge)
    return _of_gradients(scene, found.gradients)


def streaming(asked: Request) -> Chosen:
    """One pass of Frequent Directions: the robust solve on s rows, and a second pass for the same span."""
    scene, phi = asked.scene, asked.scene.phi
    tasks = arrays.namespace(scene.outputs).stack([scene.outputs, scene.groups])
    found = Streaming(asked.size).stream([(phi, tasks)])
    basis = row_basis(arrays.namespace(phi.values).astype(found.rows, phi.values.dtype))
    kinds: list[dict[str, Callable[[], Fit]]] = [
        {
            PAPER: partial(found.solve, scene.ridge, task=task),
            SAME_SPAN: partial(found.same_span, [phi], scene.ridge, task=task),
        }
        for task in range(2)
    ]
    lost = trace_residual(phi.values, phi.values @ basis.mT)
    return Chosen(size=asked.size, trace_residual=lost, outputs=kinds[0], groups=kinds[1])


_data, _gradients = distill.data, distill.gradients
POINT_METHODS: dict[str, Method] = {
    "Random": points(_data.Random),
    "FarthestPoint": points(lambda size, _: _data.FarthestPoint(size)),
    "KMeans": points(_data.KMeans),
    "Leverage": points(_data.Leverage),
    "RPCholesky": points(_data.RPCholesky),
}
METHODS: dict[str, Method] = {
    **POINT_METHODS,
    "LocalGlobal": local_global,
    "Principal": along(lambda size, _: _gradients.Principal(size)),
    "Krylov": along(lambda size, _: _gradients.Krylov(size)),
    "Solution": along(lambda size, ridge: _gradients.Solution(size, ridge=ridge)),
    "Streaming": streaming,
}
