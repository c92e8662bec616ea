"""What each stage loses, and all together: measured on test points, and certified on the distilled points."""

from typing import Any

import numpy as np

from dntk.certificates import certify
from dntk.distilled_gradients import DistilledGradients
from dntk.metrics import mean_squared_error
from dntk.solve import ridge
from dntk.spectrum import leading_eigenpairs
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce._distances import root_mean_square
from dntk_studies.reproduce.gradient_methods import METHODS, PAPER, SAME_SPAN, Fit, Request
from dntk_studies.reproduce.scene import Scene, open_scene
from dntk_studies.reproduce.workshop import Workshop, tag

GRADIENTS = 5
CASES = {
    "LocalGlobal, paper": ("LocalGlobal", PAPER),
    "Principal, same span": ("Principal", SAME_SPAN),
    "Solution, same span": ("Solution", SAME_SPAN),
}


def rows(
    shop: Workshop, plan: TrainingPlan, seed: int, full: dict[str, Any], sweep: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row per way to distil gradients; distances are relative to the root mean square of the network's outputs.

    ``data``: regression on distilled points against regression on all; ``sketch``: on the exact kernel against the
    sketched one, at the largest k and the points of the sweep; ``gradients``: on s gradients against all distilled
    points; ``together``: s gradients against all points, at most ``data`` + ``gradients``. ``certified`` bounds
    ``on_points``, the distance of the last two on the distilled points.
    """
    scene = open_scene(shop, plan, seed)
    everything = ridge(scene.phi, scene.outputs, ridge=scene.ridge)
    on_all = shop.place(np.asarray(full["predicted"], dtype=shop.host(scene.outputs_test).dtype))
    unit = root_mean_square(scene.outputs_test)
    distilled = everything.predict(scene.test)
    spectra = leading_eigenpairs(scene.phi.joined(), len(scene.phi))
    found = []
    for name, (method, solve) in CASES.items():
        shop.progress(f"certificate of {name}, {tag(plan, seed)}")
        request = Request(scene=scene, spectra=spectra, size=min(GRADIENTS, len(scene.phi)), seed=seed)
        chosen = METHODS[method](request)
        assert chosen.gradients is not None  # of these methods it is
        fit = chosen.outputs[solve]()
        predicted = fit.predict(scene.test)
        found.append(
            {
                "method": name,
                "size": chosen.size,
                "data": root_mean_square(distilled - on_all) / unit,
                "sketch": sweep[-1]["distance"],
                "gradients": root_mean_square(predicted - distilled) / unit,
                "together": root_mean_square(predicted - on_all) / unit,
                "from_network": mean_squared_error(predicted, scene.outputs_test) ** 0.5 / unit,
                **_certified(scene, chosen.gradients, fit, everything, seed),
            }
        )
    return found


def _certified(scene: Scene, grads: DistilledGradients, fit: Fit, everything: Fit, seed: int) -> dict[str, Any]:
    certificate = certify(scene.phi, grads, ridge=scene.ridge, seed=seed)
    unit = root_mean_square(scene.outputs)
    bound = certificate.prediction_error
    assert bound is not None  # synthetic gradients know their targets
    per_output: Any = bound.value
    moved = fit.predict(scene.phi) - everything.predict(scene.phi)
    return {
        "on_points": root_mean_square(moved) / unit,
        "certified": root_mean_square(per_output) / unit,
        "theorem": bound.theorem,
        "trace_residual": grads.trace_residual,
        "trace_certified": float(certificate.trace_error) / certificate.trace,
        "confidence": certificate.confidence,
    }
