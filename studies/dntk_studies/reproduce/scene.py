"""Features of distilled points and of the points on which results are measured: what most experiments start from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk import arrays
from dntk.backend import backend_of
from dntk.distilled_gradients import row_basis
from dntk.features import TangentFeatures, tangent_features
from dntk.ledger import LedgerRecorder, StageCost
from dntk.metrics import accuracy, fidelity, mean_squared_error
from dntk.models.base import Model
from dntk.sketch import Sketch
from dntk.solve import ridge
from dntk.types import Array
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce._sketches import sketch_of
from dntk_studies.reproduce.unseen import grouped_accuracy, grouped_targets
from dntk_studies.reproduce.workshop import Workshop, packed_costs, tag, unpacked_costs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Features of m distilled, of validation and of test points, with the network's outputs and the labels.

    Features are sketched, and where k exceeds 2m expressed in an orthonormal basis of each output's rows of Ψ: every
    predictor that is compared has its weights in that span, so nothing changes but the cost.
    """

    phi: TangentFeatures
    validation: TangentFeatures
    test: TangentFeatures
    outputs: Array
    outputs_validation: Array
    outputs_test: Array
    labels: npt.NDArray[Any]
    labels_test: npt.NDArray[Any]
    groups: Array
    ridge: float
    costs: tuple[StageCost, ...]

    def scores(self, predicted: Array) -> dict[str, float]:
        """Accuracy, fidelity and mean squared error of predicted outputs of the test points."""
        return scores(predicted, self.outputs_test, self.labels_test)

    def unseen(self, predicted: npt.NDArray[Any]) -> float:
        """Accuracy of predicted groupings of the test points."""
        return grouped_accuracy(predicted, self.labels_test, self.phi.n_outputs)


def scores(predicted: Array, outputs: Array, labels: npt.NDArray[Any]) -> dict[str, float]:
    """Accuracy against labels; fidelity and mean squared error against the network's outputs."""
    return {
        "accuracy": accuracy(predicted, backend_of(predicted).from_numpy(labels)),
        "fidelity": fidelity(predicted, outputs),
        "mse": mean_squared_error(predicted, outputs),
    }


def open_scene(shop: Workshop, plan: TrainingPlan, seed: int, *, on_distilled: bool = False) -> Scene:
    """The scene of a network and a seed; features are computed once and kept on disk."""
    name = f"features-{tag(plan, seed)}" + ("-on-distilled" if on_distilled else "")
    stored = shop.units.arrays(name, lambda: _features(shop, plan, seed, on_distilled))
    phi, validation, test = (TangentFeatures(shop.place(stored[key])) for key in ("phi", "validation", "test"))
    outputs = shop.place(stored["outputs"])
    return Scene(
        phi=phi,
        validation=validation,
        test=test,
        outputs=outputs,
        outputs_validation=shop.place(stored["outputs_validation"]),
        outputs_test=shop.place(stored["outputs_test"]),
        labels=stored["labels"],
        labels_test=stored["labels_test"],
        groups=shop.place(grouped_targets(stored["labels"], phi.n_outputs)),
        ridge=float(stored["ridge"][0]),
        costs=unpacked_costs(stored["costs"]),
    )


def _features(shop: Workshop, plan: TrainingPlan, seed: int, on_distilled: bool) -> Mapping[str, npt.NDArray[Any]]:
    distilled, images = shop.distilled(plan, seed), shop.images(seed)
    model = shop.network(plan, seed, on_distilled=on_distilled).model
    shop.progress(f"tangent features, {tag(plan, seed)}")
    recorder, sketch = LedgerRecorder(), sketch_of(shop.settings, plan, seed)
    x = shop.place(distilled.x)
    with recorder.stage("features") as cost:
        phi = tangent_features(model, x, sketch=sketch)
        cost.nbytes = 4 * phi.n_outputs * len(phi) * phi.dim
    with recorder.stage("regression") as cost:
        fit = ridge(phi, model(x))
        cost.nbytes = 4 * phi.n_outputs * phi.dim
    basis = row_basis(phi.values) if phi.dim > 2 * len(phi) else None
    parts = {"validation": images.validation.x, "test": images.test.x}
    kept = {name: _reduced(model, shop.place(part), sketch, basis) for name, part in parts.items()}
    outputs = {f"outputs_{name}": shop.host(model(shop.place(part))) for name, part in parts.items()}
    return {
        "phi": shop.host(phi.values if basis is None else phi.values @ basis.mT),
        **{name: shop.host(value) for name, value in kept.items()},
        "outputs": shop.host(model(x)),
        **outputs,
        "labels": distilled.y,
        "labels_test": images.test.y,
        "ridge": np.asarray([fit.ridge]),
        "costs": packed_costs((*distilled.costs, *recorder.ledger().stages)),
    }


def _reduced(model: Model, x: Array, sketch: Sketch, basis: Array | None) -> Array:
    """Features in the basis, a few hundred points at a time: the wide ones need not all be there at once."""
    xp = model.namespace
    pieces = []
    for start, stop in arrays.spans(x.shape[0], 250):
        values = tangent_features(model, x[start:stop, ...], sketch=sketch).values
        pieces.append(values if basis is None else values @ basis.mT)
    return xp.concat(pieces, axis=1)
