"""Regression on all n points of the pool: what data distillation is measured against."""

import dataclasses
from typing import Any

import numpy as np

from dntk import arrays
from dntk.distill.gradients import Solution
from dntk.distilled_gradients import row_basis
from dntk.features import TangentFeatures, tangent_features
from dntk.ledger import LedgerRecorder
from dntk.solve import ridge, same_span
from dntk.types import Array
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce._sketches import sketch_of
from dntk_studies.reproduce.scene import scores
from dntk_studies.reproduce.unseen import grouped_accuracy, grouped_targets
from dntk_studies.reproduce.workshop import Workshop, tag

GRADIENTS = 5


def measured(shop: Workshop, plan: TrainingPlan, seed: int) -> dict[str, Any]:
    """Scores and predictions of regression on the pool, with and without gradient distillation, and its costs.

    ``trace_residual``: share of the pool's kernels outside the span of the distilled data; ``pca_tail``: the part of it
    that no span of as many features avoids.
    """
    images = shop.images(seed)
    model, distilled = shop.network(plan, seed).model, shop.distilled(plan, seed)
    shop.progress(f"features of all {len(images.pool.y)} points, {tag(plan, seed)}")
    recorder, sketch = LedgerRecorder(), sketch_of(shop.settings, plan, seed)
    x = shop.place(images.pool.x)
    with recorder.stage("features of all points") as cost:
        phi = tangent_features(model, x, sketch=sketch)
        cost.nbytes = 4 * phi.n_outputs * len(phi) * phi.dim
    shop.progress(f"regression on all points, {tag(plan, seed)}")
    with recorder.stage("regression on all points") as cost:
        fit = ridge(phi, model(x))
        cost.nbytes = 4 * phi.n_outputs * phi.dim
    with recorder.stage(f"{GRADIENTS} gradients of all points"):
        grads = Solution(GRADIENTS, ridge=fit.ridge).distill(phi, model(x))
        in_span = same_span(grads, ridge=fit.ridge)
    groups = ridge(phi, shop.place(grouped_targets(images.pool.y, images.classes)))  # labels want a λ of their own
    core = tangent_features(model, shop.place(distilled.x), sketch=sketch)
    test, labels = shop.test_features(plan, seed), images.test.y
    network, found = model(shop.place(images.test.x)), fit.predict(test)
    unseen = grouped_accuracy(shop.host(groups.predict(test)), labels, images.classes)
    return {
        "points": len(phi),
        **scores(found, network, labels),
        "unseen": unseen,
        "with_gradients": scores(in_span.predict(test), network, labels),
        "predicted": shop.host(found).tolist(),
        **_residuals(shop, phi, core),
        "costs": [dataclasses.asdict(cost) for cost in recorder.ledger().stages],
    }


def _residuals(shop: Workshop, phi: TangentFeatures, core: TangentFeatures) -> dict[str, float]:
    """Relative trace residual of the distilled span, and the tail of the spectra beyond its rank, over all outputs."""
    xp = arrays.namespace(phi.values)
    basis = row_basis(core.values)
    total = inside = tail = 0.0
    for c in range(phi.n_outputs):
        values = phi.values[c, :, :]
        total += float(xp.sum(values * values))
        inside += float(xp.sum((values @ basis[c, :, :].T) ** 2))
        tail += _tail(shop, values, len(core))
    return {"trace_residual": max(0.0, 1 - inside / total), "pca_tail": tail / total}


def _tail(shop: Workshop, values: Array, rank: int) -> float:
    """Σ of the eigenvalues of ΨᵀΨ beyond the leading ``rank``."""
    gram = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T
    spectrum = np.linalg.eigvalsh(shop.host(gram).astype(np.float64))[::-1]
    return float(np.sum(np.clip(spectrum[rank:], 0, None)))
