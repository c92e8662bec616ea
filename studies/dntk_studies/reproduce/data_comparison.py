"""Every data distillation at the same number of points: what regression on them predicts, and what it cost."""

import dataclasses
from typing import Any

from dntk.features import tangent_features
from dntk.ledger import LedgerRecorder
from dntk.solve import ridge
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce._sketches import sketch_of
from dntk_studies.reproduce.data_methods import METHODS
from dntk_studies.reproduce.scene import scores
from dntk_studies.reproduce.settings import Settings
from dntk_studies.reproduce.unseen import grouped_accuracy, grouped_targets
from dntk_studies.reproduce.workshop import Workshop, tag


def methods(settings: Settings, seed: int) -> list[str]:
    """Names of the methods compared; those that move pixels only where there are steps, for seeds with the full set."""
    moving = settings.pixel_steps > 0 and seed < settings.full_seeds
    return [name for name, method in METHODS.items() if moving or not method.moves_pixels]


def row(shop: Workshop, plan: TrainingPlan, seed: int, method: str) -> dict[str, Any]:
    """Scores of regression on all points that ``method`` gives."""
    distilled, images = shop.distilled(plan, seed, method), shop.images(seed)
    model = shop.network(plan, seed).model
    shop.progress(f"regression on data by {method}, {tag(plan, seed)}")
    recorder = LedgerRecorder()
    x = shop.place(distilled.x)
    with recorder.stage("features"):
        phi = tangent_features(model, x, sketch=sketch_of(shop.settings, plan, seed))
    with recorder.stage("regression"):
        fit = ridge(phi, model(x))
    groups = ridge(phi, shop.place(grouped_targets(distilled.y, images.classes)))  # labels want a λ of their own
    test, network = shop.test_features(plan, seed), model(shop.place(images.test.x))
    unseen = shop.host(groups.predict(test))
    costs = (*distilled.costs, *recorder.ledger().stages)
    return {
        "method": method,
        "points": len(phi),
        **scores(fit.predict(test), network, images.test.y),
        "unseen": grouped_accuracy(unseen, images.test.y, images.classes),
        "rows": phi.n_outputs * len(phi),
        "seconds": sum(cost.seconds for cost in costs),
        "costs": [dataclasses.asdict(cost) for cost in costs],
    }
