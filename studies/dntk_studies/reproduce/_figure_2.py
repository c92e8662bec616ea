"""Figure 2: per-class spectra and their truncation ranks at ε = 0.05."""

from typing import Any

import numpy as np

from dntk.features import TangentFeatures
from dntk.spectrum import eigenvalues, truncation_rank
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce.scene import open_scene
from dntk_studies.reproduce.workshop import Workshop


def rows(shop: Workshop, plan: TrainingPlan, seed: int) -> list[dict[str, Any]]:
    """One row per class c: the kernel K^c on the class's own points and on all, K̄ on its own points.

    ``spectrum`` is of K^c on its own points, relative to the trace.
    """
    scene = open_scene(shop, plan, seed)
    found = []
    for label in range(scene.phi.n_outputs):
        own = np.flatnonzero(scene.labels == label)
        mine = TangentFeatures(scene.phi[own].values[label, :, :])
        spectrum = shop.host(eigenvalues(mine))
        found.append(
            {
                "class": label,
                "points": len(own),
                "rank_own": truncation_rank(mine),
                "rank_own_mean": truncation_rank(scene.phi[own]),
                "all_points": len(scene.phi),
                "rank_all": truncation_rank(TangentFeatures(scene.phi.values[label, :, :])),
                "rank_all_mean": truncation_rank(scene.phi),
                "spectrum": [float(value) for value in spectrum / max(float(np.sum(spectrum)), 1e-30)],
            }
        )
    return found
