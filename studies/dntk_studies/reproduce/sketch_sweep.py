"""The sketch against the exact kernel over k: measured errors beside what theory says."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk.features import tangent_features
from dntk.kernels._ntk import ntk
from dntk.metrics import fidelity
from dntk.solve import kernel_ridge, ridge
from dntk.types import Array
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce._distances import root_mean_square
from dntk_studies.reproduce._sketches import sketch_of
from dntk_studies.reproduce.workshop import Workshop, tag


def rows(shop: Workshop, plan: TrainingPlan, seed: int) -> list[dict[str, Any]]:
    """One row per k: errors on the first distilled points and as many test points; k = None is the exact kernel.

    ``theory`` is the root mean square of ‖K̂^c − K^c‖_F/‖K^c‖_F for a Gaussian sketch, √((sr_c² + 1)/k) with
    sr = tr K/‖K‖_F, root mean square over classes; a sparse sign sketch has less, a mixed one somewhat more.
    """
    points, images = shop.settings.exact_points, shop.images(seed)
    model = shop.network(plan, seed).model
    x = shop.place(shop.distilled(plan, seed).x[:points])
    x_test = shop.place(images.test.x[:points])
    shop.progress(f"exact kernel of {len(x)} + {len(x_test)} points, {tag(plan, seed)}")
    exact, cross = ntk(model, x, outputs="each"), ntk(model, x_test, x, outputs="each")
    targets, network = model(x), model(x_test)
    fit = kernel_ridge(exact, targets)
    reference = fit.predict(cross)
    unit = root_mean_square(network)
    found = [{"k": None, **_row(reference, reference, network, unit), "error": 0.0, "theory": 0.0}]
    host = shop.host(exact).astype(np.float64)
    for k in shop.settings.sweep:
        shop.progress(f"sketch of {k}, {tag(plan, seed)}")
        sketch = sketch_of(shop.settings, plan, seed, k)
        phi, phi_test = (tangent_features(model, part, sketch=sketch) for part in (x, x_test))
        # Each with a ridge of its own: a kernel of rank k below the number of points may need more than the exact one.
        sketched = ridge(phi, targets).predict(phi_test)
        found.append(
            {
                "k": k,
                **_row(sketched, reference, network, unit),
                "error": relative_error(shop.host(phi.kernel(outputs="each")), host),
                "theory": expected_error(host, k),
            }
        )
    return found


def relative_error(kernels: npt.NDArray[Any], exact: npt.NDArray[Any]) -> float:
    """Root mean square over classes of ‖K̂ − K‖_F/‖K‖_F."""
    errors = np.linalg.norm(kernels - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
    return float(np.sqrt(np.mean(errors**2)))


def expected_error(exact: npt.NDArray[Any], k: int) -> float:
    """The same as a Gaussian sketch makes it in expectation of the square."""
    traces, norms = np.trace(exact, axis1=1, axis2=2), np.linalg.norm(exact, axis=(1, 2))
    return math.sqrt(float(np.mean((traces / norms) ** 2 + 1)) / k)


def _row(predicted: Array, reference: Array, network: Array, unit: float) -> dict[str, float]:
    return {
        "fidelity": fidelity(predicted, network),
        "agreement": fidelity(predicted, reference),
        "distance": root_mean_square(predicted - reference) / unit,
    }
