"""Figure 1: quality and conditioning against the number of distilled points, base model trained on either data."""

from typing import Any

from dntk.arrays import namespace
from dntk.solve import ridge
from dntk.spectrum import condition_number, eigenvalues
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce.scene import Scene, open_scene
from dntk_studies.reproduce.workshop import Workshop


def rows(shop: Workshop, plan: TrainingPlan, seed: int) -> list[dict[str, Any]]:
    """One row per base model and number of points per class."""
    found = []
    for base, on_distilled in (("real", False), ("distilled", True)):
        scene = open_scene(shop, plan, seed, on_distilled=on_distilled)
        for per_class in shop.settings.prefixes:
            points = per_class * scene.phi.n_outputs
            found.append({"base": base, "per_class": per_class, "points": points, **measured(scene, points)})
    return found


def measured(scene: Scene, points: int) -> dict[str, float]:
    """Scores of regression on the first points, and how well their mean kernel is conditioned.

    The condition number is the kernel's own, without ridge; the smallest eigenvalue is relative to the mean diagonal.
    """
    phi = scene.phi[:points]
    predicted = ridge(phi, scene.outputs[:points, :]).predict(scene.test)
    spectrum = eigenvalues(phi)
    mean_diagonal = float(namespace(spectrum).sum(spectrum)) / points
    return {
        **scene.scores(predicted),
        "condition_number": condition_number(spectrum),
        "smallest_eigenvalue": float(spectrum[-1]) / mean_diagonal,
    }
