"""The choices of s gradients that Figure 3 compares; a new one is one line of the registry."""

import dataclasses
from collections.abc import Callable

from dntk import arrays, distill
from dntk.distill.data import DataSelector
from dntk.distill.gradients import GradientDistiller, LocalGlobal
from dntk.distilled_gradients import DistilledGradients, distil_along
from dntk.metrics import mean_squared_error
from dntk.reproduce.scene import Scene
from dntk.solve import ridge
from dntk.types import Array

Spectra = tuple[Array, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A scene, its eigenpairs of K̄, and how many gradients are asked for."""

    scene: Scene
    spectra: Spectra
    size: int
    seed: int


Method = Callable[[Request], DistilledGradients]


def points(selector: Callable[[int, int], DataSelector]) -> Method:
    """Real gradients: those of s points that ``selector(size, seed)`` chooses."""

    def choose(asked: Request) -> DistilledGradients:
        phi = asked.scene.phi
        xp = arrays.namespace(phi.values)
        found = selector(asked.size, asked.seed).select(phi).indices
        every = xp.arange(len(phi), dtype=found.dtype, device=arrays.device_of(phi.values))
        unit_vectors = xp.astype(every[:, None] == found, phi.values.dtype)
        return distil_along(phi, asked.scene.outputs, unit_vectors, spectra=asked.spectra)

    return choose


def along(distiller: Callable[[int, float], GradientDistiller]) -> Method:
    """Synthetic gradients of ``distiller(size, ridge)``."""
    return lambda asked: distiller(asked.size, asked.scene.ridge).distill(asked.scene.phi, asked.scene.outputs)


def local_global(asked: Request) -> DistilledGradients:
    """Algorithm 1 within a budget: of eight configurations the one of least error on validation points."""
    scene = asked.scene
    tried: list[tuple[float, int, DistilledGradients]] = []
    for clusters in (2, 3, 5, 10):
        for threshold in (0.5, 0.9):
            distiller = LocalGlobal(clusters=clusters, coverage=threshold, size=asked.size, seed=asked.seed)
            grads = distiller.distill(scene.phi, scene.outputs, spectra=asked.spectra)
            predicted = ridge(grads, ridge=scene.ridge).predict(scene.validation)
            tried.append((mean_squared_error(predicted, scene.outputs_validation), len(tried), grads))
    return min(tried, key=lambda entry: entry[:2])[2]


_data, _gradients = distill.data, distill.gradients
METHODS: dict[str, Method] = {
    "Random": points(_data.Random),
    "RPCholesky": points(_data.RPCholesky),
    "LocalGlobal": local_global,
    "Principal": along(lambda size, _: _gradients.Principal(size)),
    "Solution": along(lambda size, ridge: _gradients.Solution(size, ridge=ridge)),
}
