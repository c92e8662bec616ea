"""Train, wrap, select, sketch, distil, solve, measure: the whole pipeline on scikit-learn's digits."""

import dataclasses
import time
import warnings
from collections.abc import Callable
from typing import Any

from dntk.backend import Backend, get_backend
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import LocalGlobal, Principal, Solution
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures, tangent_features
from dntk.kernels._ntk import ntk
from dntk.ledger import LedgerRecorder
from dntk.metrics import accuracy, fidelity, mean_squared_error
from dntk.models.base import as_model
from dntk.models.mlp import MLP
from dntk.sketch import SparseSign
from dntk.solve import RidgeFit, kernel_ridge, ridge, same_span
from dntk.solve.rules import feature_ridge
from dntk.spectrum import condition_number, coverage, eigenvalues, leading_eigenpairs, truncation_rank
from dntk.types import Array
from dntk_studies.datasets import Dataset, digits
from dntk_studies.demo.methods.result import MethodsResult, Row
from dntk_studies.demo.methods.unseen import grouped_accuracy, grouped_targets

SIZES = (5, 10, 20, 40)
CORESET = 500
SKETCH_DIM = 4096
CURVE = 40  # leading eigenvectors whose coverage the report shows
STEPS = 8 + len(SIZES)

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Scene:
    """The network, and the three parts of the data as arrays of the backend."""

    backend: Backend
    model: MLP
    data: Dataset
    x_train: Array
    x_validation: Array
    x_test: Array
    f_validation: Array
    f_test: Array
    y_test: Array
    groups_train: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sketched:
    """Features of the coreset, its targets, and features of the points that are predicted."""

    indices: Array
    phi: TangentFeatures
    targets: Array
    groups: Array
    validation: TangentFeatures
    test: TangentFeatures
    ridge: float


def run(*, backend: str = "numpy", seed: int = 0, progress: Progress = lambda _: None) -> MethodsResult:
    """Compare the methods; ``progress`` is told the name of each of :data:`STEPS` steps as it begins.

    Raises
    ------
    ValueError
        Unknown backend.
    ImportError
        A backend whose framework is not installed.
    """
    start = time.perf_counter()
    arrays = get_backend(backend)
    recorder, exact_recorder = LedgerRecorder(), LedgerRecorder()
    progress("training the network")
    scene = _scene(arrays, seed)
    rows = [_row(scene, "network itself", scene.f_test)]
    progress("exact kernel of all training points")
    with exact_recorder.stage("exact kernel and solve") as cost:
        kernel = ntk(scene.model, scene.x_train, outputs="each")
        fit = kernel_ridge(kernel, scene.model(scene.x_train))
        cost.nbytes = kernel.shape[0] * kernel.shape[1] ** 2 * 4
    progress("full kernel regression")
    rows.append(_exact_row(scene, kernel, fit))
    sketched = _sketch(scene, recorder, seed, progress)
    progress("regression on the coreset")
    with recorder.stage("ridge"):
        full = ridge(sketched.phi, sketched.targets, ridge=sketched.ridge)
    rows.append(_coreset_row(scene, sketched, full))
    covered: dict[int, tuple[float, ...]] = {}
    choices: dict[int, str] = {}
    spectra = leading_eigenpairs(sketched.phi.joined(), len(sketched.phi))
    leading = spectra[1][:, :CURVE]
    for size in SIZES:
        progress(f"distilling {size} gradients")
        with recorder.stage(f"{size} gradients"):
            chosen, found = _best_local_global(scene, sketched, size, spectra)
            others = _others(sketched, size)
        choices[size] = f"{chosen.clusters} clusters, coverage {chosen.coverage}"
        covered[size] = _floats(scene, coverage(leading, _wide(found.directions, leading)))
        rows.extend(_method_rows(scene, sketched, found, others))
    progress("spectrum")
    spectrum = eigenvalues(sketched.phi)
    return MethodsResult(
        backend=backend,
        points=scene.x_train.shape[0],
        coreset=len(sketched.phi),
        outputs=scene.model.n_outputs,
        parameters=scene.model.n_parameters,
        sketch=f"SparseSign({SKETCH_DIM})",
        ridge=sketched.ridge,
        truncation_rank=truncation_rank(spectrum),
        condition_number=condition_number(spectrum, sketched.ridge),
        rows=tuple(rows),
        ledger=recorder.ledger(),
        exact=exact_recorder.ledger().stages[0],
        spectrum=_floats(scene, spectrum),
        coverage=covered,
        choices=choices,
        seconds=time.perf_counter() - start,
    )


def train_network(data: Dataset, seed: int) -> Any:
    """scikit-learn's MLPClassifier, 64-256-10, on the training part."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed, short budget is the recipe
        return MLPClassifier((256,), max_iter=100, random_state=seed).fit(data.train.x, data.train.y)


def _scene(backend: Backend, seed: int) -> _Scene:
    data = digits(seed=seed)
    model = as_model(train_network(data, seed))
    assert isinstance(model, MLP)
    model = model.to(backend.name)
    x_validation, x_test = backend.from_numpy(data.validation.x), backend.from_numpy(data.test.x)
    return _Scene(
        backend=backend,
        model=model,
        data=data,
        x_train=backend.from_numpy(data.train.x),
        x_validation=x_validation,
        x_test=x_test,
        f_validation=model(x_validation),
        f_test=model(x_test),
        y_test=backend.from_numpy(data.test.y),
        groups_train=backend.from_numpy(grouped_targets(data.train.y)),
    )


def _sketch(scene: _Scene, recorder: LedgerRecorder, seed: int, progress: Progress) -> _Sketched:
    model, xp = scene.model, scene.model.namespace
    sketch = SparseSign(SKETCH_DIM, seed=seed)
    progress("selecting a coreset")
    with recorder.stage("coreset") as cost:
        # One functional of the outputs per point is enough to choose points by: a tenth of the backward passes.
        indices = (
            RPCholesky(CORESET, seed=seed)
            .select(tangent_features(model, scene.x_train, sketch=sketch, outputs="sum"))
            .indices
        )
        cost.nbytes = 8 * CORESET
    progress("sketched tangent features")
    with recorder.stage("features") as cost:
        x = xp.take(scene.x_train, indices, axis=0)
        phi = tangent_features(model, x, sketch=sketch)
        cost.nbytes = 4 * model.n_outputs * CORESET * SKETCH_DIM
    progress("features of validation and test points")
    validation = tangent_features(model, scene.x_validation, sketch=sketch)
    test = tangent_features(model, scene.x_test, sketch=sketch)
    progress("choosing the ridge by leave-one-out")
    targets = model(x)
    with recorder.stage("choice of ridge"):
        chosen = feature_ridge("loo", phi.values, targets)
    return _Sketched(
        indices=indices,
        phi=phi,
        targets=targets,
        groups=xp.take(scene.groups_train, indices, axis=0),
        validation=validation,
        test=test,
        ridge=chosen,
    )


def _best_local_global(
    scene: _Scene, sketched: _Sketched, size: int, spectra: tuple[Array, Array]
) -> tuple[LocalGlobal, DistilledGradients]:
    """Algorithm 1 within a budget: its configuration of least validation error, test points untouched."""
    tried: list[tuple[float, int, LocalGlobal, DistilledGradients]] = []
    for clusters in (2, 3, 5, 10):
        for threshold in (0.5, 0.9):
            distiller = LocalGlobal(clusters=clusters, coverage=threshold, size=size)
            grads = distiller.distill(sketched.phi, sketched.targets, spectra=spectra)
            predicted = ridge(grads, ridge=sketched.ridge).predict(sketched.validation)
            tried.append((mean_squared_error(predicted, scene.f_validation), len(tried), distiller, grads))
    best = min(tried, key=lambda entry: entry[:2])
    return best[2], best[3]


def _others(sketched: _Sketched, size: int) -> dict[str, DistilledGradients]:
    return {
        "Principal": Principal(size).distill(sketched.phi, sketched.targets),
        "Solution": Solution(size, ridge=sketched.ridge).distill(sketched.phi, sketched.targets),
    }


def _method_rows(
    scene: _Scene, sketched: _Sketched, local: DistilledGradients, others: dict[str, DistilledGradients]
) -> list[Row]:
    """Algorithm 1 solved as in the paper and in the same span, the others in the same span."""
    cases: list[tuple[str, DistilledGradients, RidgeFit]] = [
        ("LocalGlobal (paper's solve)", local, ridge(local, ridge=sketched.ridge)),
        ("LocalGlobal, same span", local, same_span(local, ridge=sketched.ridge)),
    ]
    cases += [(name, grads, same_span(grads, ridge=sketched.ridge)) for name, grads in others.items()]
    rows = []
    for name, grads, fit in cases:
        solve = ridge if "paper" in name else same_span
        groups = solve(grads, sketched.groups, ridge="loo").predict(sketched.test)
        row = _row(scene, name, fit.predict(sketched.test), groups)
        rows.append(
            dataclasses.replace(
                row,
                gradients=grads.size,
                compression=len(sketched.phi) / grads.size,
                trace_residual=grads.trace_residual,
            )
        )
    return rows


def _exact_row(scene: _Scene, kernel: Array, fit: Any) -> Row:
    cross = ntk(scene.model, scene.x_test, scene.x_train, outputs="each")
    groups = kernel_ridge(kernel, scene.groups_train).predict(cross)
    row = _row(scene, "exact kernel, all points", fit.predict(cross), groups)
    return dataclasses.replace(row, gradients=scene.x_train.shape[0])


def _coreset_row(scene: _Scene, sketched: _Sketched, full: RidgeFit) -> Row:
    groups = ridge(sketched.phi, sketched.groups).predict(sketched.test)
    row = _row(scene, "coreset, sketched kernel", full.predict(sketched.test), groups)
    return dataclasses.replace(row, gradients=len(sketched.phi), compression=1.0, trace_residual=0.0)


def _row(scene: _Scene, method: str, predicted: Array, groups: Array | None = None) -> Row:
    unseen = None
    if groups is not None:
        unseen = grouped_accuracy(scene.backend.to_numpy(groups), scene.data.test.y)
    return Row(
        method=method,
        gradients=None,
        compression=None,
        accuracy=accuracy(predicted, scene.y_test),
        fidelity=fidelity(predicted, scene.f_test),
        mse=mean_squared_error(predicted, scene.f_test),
        trace_residual=None,
        unseen=unseen,
    )


def _wide(x: Array, like: Array) -> Array:
    from dntk.arrays import namespace

    return namespace(like).astype(x, like.dtype, copy=False)


def _floats(scene: _Scene, x: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in scene.backend.to_numpy(x))
