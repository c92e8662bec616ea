"""Ways to distil a training set to m points. To add one, add a line to a table."""

import dataclasses
from collections.abc import Callable
from typing import Any

import dntk
from dntk.distill import data as distillers
from dntk.distill.data import Balanced, FarthestPoint, Herding, KMeans, Leverage, Random, RPCholesky


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coreset:
    """Real points, selected by features of one functional: one backward pass per point."""

    name: str
    make: Callable[[int, int, Any], Any]
    """Selector of (size, seed, labels)."""
    sees_features: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """Synthetic points: the class of ``dntk.distill.data`` that ``name`` begins with, up to a comma."""

    name: str
    make: Callable[[Any, int, int, int], Any]
    """Distiller from the class, the numbers of points and of classes, and the seed."""


CORESETS = (
    Coreset(name="Random", make=lambda m, seed, _: Random(m, seed=seed), sees_features=False),
    Coreset(name="Random, balanced", make=lambda m, seed, y: Balanced(Random(m, seed=seed), y), sees_features=False),
    Coreset(name="FarthestPoint", make=lambda m, *_: FarthestPoint(m)),
    Coreset(name="KMeans", make=lambda m, seed, _: KMeans(m, seed=seed)),
    Coreset(name="KMeans, balanced", make=lambda m, seed, y: Balanced(KMeans(m, seed=seed), y)),
    Coreset(name="Leverage", make=lambda m, seed, _: Leverage(m, seed=seed)),
    Coreset(name="Herding", make=lambda m, *_: Herding(m)),
    Coreset(name="Herding, balanced", make=lambda m, _, y: Balanced(Herding(m), y)),
    Coreset(name="RPCholesky", make=lambda m, seed, _: RPCholesky(m, seed=seed)),
    Coreset(name="RPCholesky, balanced", make=lambda m, seed, y: Balanced(RPCholesky(m, seed=seed), y)),
)

PIXELS = (0.0, 1.0)
OBJECTIVES = (
    Objective(name="Wasserstein", make=lambda cls, m, c, seed: cls(per_class=m // c, seed=seed, limits=PIXELS)),
    Objective(
        name="Wasserstein, no augmentation",
        make=lambda cls, m, c, seed: cls(per_class=m // c, seed=seed, limits=PIXELS, augmentation=None),
    ),
    Objective(name="TangentResidual", make=lambda cls, m, _, seed: cls(m, seed=seed, limits=PIXELS)),
    Objective(name="OutputResidual", make=lambda cls, m, _, seed: cls(m, seed=seed, limits=PIXELS)),
    Objective(name="KernelInducing", make=lambda cls, m, c, seed: cls(per_class=m // c, seed=seed, limits=PIXELS)),
)


def class_of(objective: Objective) -> Any:
    """The objective's class, ``None`` where this version of dntk has none."""
    return getattr(distillers, objective.name.partition(",")[0], None)


def chosen(names: list[str]) -> list[Coreset | Objective]:
    """Methods whose names begin with one of ``names``; all where there is none.

    Raises
    ------
    ValueError
        A name that no method begins with.
    """
    every = [*CORESETS, *OBJECTIVES]
    for name in names:
        if not any(method.name.startswith(name) for method in every):
            msg = f"no method begins with {name!r}; there are {', '.join(method.name for method in every)}."
            raise ValueError(msg)
    return [method for method in every if not names or method.name.startswith(tuple(names))]


def selection_features(model: dntk.Model, x: Any, sketch: Any) -> dntk.TangentFeatures:
    """What coresets see: the pipeline's features of the one functional (1/√C) Σ_c f_c."""
    return dntk.tangent_features(model, x, sketch=sketch, outputs="sum")
