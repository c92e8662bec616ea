"""Figure 3: quality against the number of gradients, each method as the paper solves it and in the same span."""

from typing import Any

from dntk.solve import ridge
from dntk.spectrum import leading_eigenpairs
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce.gradient_methods import METHODS, SOLVES, Chosen, Request
from dntk_studies.reproduce.scene import Scene, open_scene
from dntk_studies.reproduce.workshop import Workshop, tag

FULL = "all distilled points"


def rows(shop: Workshop, plan: TrainingPlan, seed: int) -> list[dict[str, Any]]:
    """One row per method, solve and size; regression on all distilled points is the last."""
    scene = open_scene(shop, plan, seed)
    spectra = leading_eigenpairs(scene.phi.joined(), len(scene.phi))
    found = []
    for name, method in METHODS.items():
        shop.progress(f"figure 3: {name}, {tag(plan, seed)}")
        for size in shop.settings.sizes:
            chosen = method(Request(scene=scene, spectra=spectra, size=size, seed=seed))
            found += [{"method": name, "asked": size, **row} for row in _solved(shop, scene, chosen)]
    full = ridge(scene.phi, scene.outputs, ridge=scene.ridge)
    unseen = shop.host(ridge(scene.phi, scene.groups).predict(scene.test))
    return [
        *found,
        {
            **{"method": FULL, "asked": None, "solve": "full", "size": len(scene.phi), "compression": 1.0},
            **scene.scores(full.predict(scene.test)),
            **{"trace_residual": 0.0, "unseen": scene.unseen(unseen)},
        },
    ]


def _solved(shop: Workshop, scene: Scene, chosen: Chosen) -> list[dict[str, Any]]:
    """Scores of both solves on the network's outputs, and on groupings of the classes that nothing was chosen by."""
    found = []
    for name in SOLVES:
        unseen = shop.host(chosen.groups[name]().predict(scene.test))
        found.append(
            {
                "solve": name,
                "size": chosen.size,
                "compression": len(scene.phi) / chosen.size,
                **scene.scores(chosen.outputs[name]().predict(scene.test)),
                "trace_residual": chosen.trace_residual,
                "unseen": scene.unseen(unseen),
            }
        )
    return found
