"""The data distillations that are compared; a new one is one line of the registry."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk import distill
from dntk.backend import Backend
from dntk.distill.data import DataDistiller, DataSelector, KernelInducing, TangentResidual, Wasserstein
from dntk.features import tangent_features
from dntk.ledger import LedgerRecorder, StageCost
from dntk.models.base import Model
from dntk.sketch import Sketch
from dntk.types import Array
from dntk_studies.reproduce.images import indices_by_class, interleaved


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool:
    """The points that are distilled, as arrays of the model's library, and what is asked for."""

    backend: Backend
    model: Model
    last_layer: str
    x: Array
    y: Array
    classes: int
    per_class: int
    seed: int
    steps: int
    sketch: Sketch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distilled:
    """Distilled images and labels on the host, class after class in turn, and what they cost."""

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    costs: tuple[StageCost, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataMethod:
    """A way to distil a pool; ``moves_pixels`` tells those that optimise images from those that choose them."""

    distil: Callable[[Pool], Distilled]
    moves_pixels: bool = False


def chosen_by(selector: Callable[[int, int], DataSelector]) -> DataMethod:
    """Points of every class chosen by their tangent features in the last layer.

    The gradient in the last layer's parameters is the penultimate feature: it needs a forward pass and no backward
    pass through the network, so that choosing costs none of the Jacobian rows that it saves.
    """

    def distil(pool: Pool) -> Distilled:
        recorder = LedgerRecorder()
        labels = pool.backend.to_numpy(pool.y)
        with recorder.stage("last-layer features") as cost:
            phi = tangent_features(pool.model.subset(pool.last_layer), pool.x, sketch=None, outputs="sum")
            cost.nbytes = 4 * len(phi) * phi.dim
        with recorder.stage("choosing points") as cost:
            picks = []
            for members in indices_by_class(labels, pool.classes):
                found = selector(pool.per_class, pool.seed).select(phi[members]).indices
                picks.append(members[pool.backend.to_numpy(found)])
            order = interleaved(picks)
            cost.nbytes = order.nbytes
        return Distilled(x=pool.backend.to_numpy(pool.x)[order], y=labels[order], costs=recorder.ledger().stages)

    return DataMethod(distil=distil)


def moved_by(distiller: Callable[[Pool], DataDistiller]) -> DataMethod:
    """Images optimised by ``distiller(pool)``."""

    def distil(pool: Pool) -> Distilled:
        recorder = LedgerRecorder()
        with recorder.stage("moving pixels") as cost:
            found = distiller(pool).distill(pool.model, pool.x, pool.y)
            x, y = pool.backend.to_numpy(found.x), _labels(pool.backend.to_numpy(found.y))
            cost.nbytes = x.nbytes
        order = _in_turn(y)
        return Distilled(x=x[order], y=y[order], costs=recorder.ledger().stages)

    return DataMethod(distil=distil, moves_pixels=True)


def _labels(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels of learned targets: the largest entry."""
    return y if y.ndim == 1 else np.argmax(y, axis=1)


def _in_turn(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The first point of every class, then the second of every class that has one, ..."""
    turn = np.zeros(len(y), dtype=np.int64)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        turn[members] = np.arange(len(members))
    return np.lexsort((y, turn))


def _wasserstein(pool: Pool) -> DataDistiller:
    return Wasserstein(pool.per_class, steps=pool.steps, limits=(0.0, 1.0), seed=pool.seed)


def _tangent_residual(pool: Pool) -> DataDistiller:
    m = pool.per_class * pool.classes
    options: dict[str, Any] = {"sketch": pool.sketch, "outputs": "sum", "limits": (0.0, 1.0), "seed": pool.seed}
    return TangentResidual(m, steps=pool.steps, **options)


def _kernel_inducing(pool: Pool) -> DataDistiller:
    options: dict[str, Any] = {"sketch": pool.sketch, "outputs": "sum", "limits": (0.0, 1.0), "seed": pool.seed}
    return KernelInducing(pool.per_class, steps=pool.steps, **options)


_data = distill.data
METHODS: dict[str, DataMethod] = {
    "Random": chosen_by(_data.Random),
    "FarthestPoint": chosen_by(lambda size, _: _data.FarthestPoint(size)),
    "KMeans": chosen_by(_data.KMeans),
    "Leverage": chosen_by(_data.Leverage),
    "Herding": chosen_by(lambda size, _: _data.Herding(size)),
    "RPCholesky": chosen_by(_data.RPCholesky),
    "Wasserstein": moved_by(_wasserstein),
    "TangentResidual": moved_by(_tangent_residual),
    "KernelInducing": moved_by(_kernel_inducing),
}
