"""Every public entry that takes data, by argument."""

from collections.abc import Callable
from typing import Any

import dntk
from tests.bad_input.scene import C, Entry, N, Scene
from tests.bad_input.values import G, S


def entries() -> list[Entry]:
    """Every public entry that takes data, by argument."""
    d = dntk
    return [
        Entry("ntk", "model", "model", lambda s, v: d.ntk(v, s.x)),
        Entry("ntk", "x1", "input", lambda s, v: d.ntk(s.model, v)),
        Entry("ntk", "x2", "second input", lambda s, v: d.ntk(s.model, s.x, v)),
        Entry("ntk", "outputs", "word", lambda s, v: d.ntk(s.model, s.x, outputs=v)),
        Entry("ntk", "batch_size", "batch", lambda s, v: d.ntk(s.model, s.x, batch_size=v)),
        Entry("NTKOperator", "model", "model", lambda s, v: d.NTKOperator(v, s.x).diagonal()),
        Entry("NTKOperator", "x", "input", lambda s, v: d.NTKOperator(s.model, v).diagonal()),
        Entry("NTKOperator", "outputs", "word", lambda s, v: d.NTKOperator(s.model, s.x, outputs=v).diagonal()),
        Entry("NTKOperator", "batch_size", "batch", lambda s, v: d.NTKOperator(s.model, s.x, batch_size=v).diagonal()),
        Entry("tangent_features", "model", "model", lambda s, v: d.tangent_features(v, s.x, sketch=None)),
        Entry("tangent_features", "x", "input", lambda s, v: d.tangent_features(s.model, v, sketch=None)),
        Entry("tangent_features", "sketch", "sketch", lambda s, v: d.tangent_features(s.model, s.x, sketch=v)),
        Entry(
            "tangent_features", "outputs", "word", lambda s, v: d.tangent_features(s.model, s.x, sketch=None, outputs=v)
        ),
        Entry(
            "tangent_features",
            "batch_size",
            "batch",
            lambda s, v: d.tangent_features(s.model, s.x, sketch=None, batch_size=v),
        ),
        Entry("TangentFeatures", "values", "matrix", lambda _, v: d.TangentFeatures(v), _ANY_SHAPE),
        Entry("TangentFeatures.kernel", "other", "features", lambda s, v: s.phi.kernel(v), ("None",)),
        Entry("TangentFeatures.kernel", "outputs", "word", lambda s, v: s.phi.kernel(outputs=v)),
        Entry("model", "x", "array", lambda s, v: s.model(v)),
        Entry("one_hot", "labels", "label", lambda s, v: d.targets.one_hot(v, C, like=s.targets), ("one label fewer",)),
        Entry("one_hot", "n_classes", "integer", lambda s, v: d.targets.one_hot(s.y * 0 + s.y // 2, v, like=s.targets)),
        Entry("accuracy", "labels", "label", lambda s, v: d.metrics.accuracy(s.targets, v)),
        Entry("accuracy", "outputs", "target", lambda s, v: d.metrics.accuracy(v, s.y)),
        Entry("fidelity", "outputs", "target", lambda s, v: d.metrics.fidelity(v, s.targets)),
        Entry("DistilledNTK", "model", "model", lambda _, v: d.DistilledNTK(v)),
        Entry("DistilledNTK", "data", "data", lambda s, v: d.DistilledNTK(s.model, data=v).fit(s.x)),
        Entry("DistilledNTK", "sketch", "sketch", lambda s, v: d.DistilledNTK(s.model, sketch=v).fit(s.x)),
        Entry("DistilledNTK", "gradients", "gradients", lambda s, v: d.DistilledNTK(s.model, gradients=v).fit(s.x)),
        Entry("DistilledNTK", "ridge", "ridge", lambda s, v: d.DistilledNTK(s.model, ridge=v).fit(s.x).weights),
        Entry("DistilledNTK", "seed", "seed", lambda s, v: d.DistilledNTK(s.model, seed=v).fit(s.x).weights),
        Entry("DistilledNTK", "tolerance", "optional share", lambda s, v: d.DistilledNTK(s.model, tolerance=v)),
        Entry("DistilledNTK.fit", "x", "input", lambda s, v: d.DistilledNTK(s.model).fit(v).weights),
        Entry("DistilledNTK.fit", "y", "target", lambda s, v: d.DistilledNTK(s.model).fit(s.x, v), ("None", "labels")),
        Entry("DistilledNTK.fit", "y", "label", lambda s, v: d.DistilledNTK(s.model).fit(s.x, v), ("None", "scores")),
        Entry("Fit.predict", "x", "input", lambda s, v: s.fit.predict(v)),
        Entry("Fit.predict_label", "x", "input", lambda s, v: s.fit.predict_label(v)),
        Entry("Fit.score", "x", "input", lambda s, v: s.fit.score(v, s.y)),
        Entry("Fit.score", "y", "label", lambda s, v: s.fit.score(s.x, v)),
        Entry("Fit.fidelity", "x", "input", lambda s, v: s.fit.fidelity(v)),
        Entry("Fit.kernel", "x1", "input", lambda s, v: s.fit.kernel(v)),
        Entry("Fit.trust", "x", "input", lambda s, v: s.fit.trust(v)),
        Entry("Fit.uncertainty", "x", "input", lambda s, v: s.fit.uncertainty(v)),
        Entry("Fit.query", "x", "input", lambda s, v: s.fit.query(v)),
        Entry("load", "path", "path", lambda _, v: d.load(v)),
        Entry("load", "model", "model", lambda s, v: d.load(s.saved, model=v), ("None",)),
        Entry("certify", "reference", "features", lambda s, v: d.certify(v, s.grads)),
        Entry(
            "certify",
            "approximation",
            "features",
            lambda s, v: d.certify(s.phi, v),
            ("dntk DistilledGradients", "dntk Fit"),
        ),
        Entry("certify", "targets", "target", lambda s, v: d.certify(s.phi, s.grads, v), ("None",)),
        Entry("certify", "ridge", "optional ridge", lambda s, v: d.certify(s.phi, s.grads, s.targets, v)),
        Entry("certify", "confidence", "share", lambda s, v: d.certify(s.phi, s.grads, confidence=v)),
        Entry("certify", "products", "integer", lambda s, v: d.certify(s.phi, s.grads, products=v)),
        Entry("certify", "seed", "seed", lambda s, v: d.certify(s.phi, s.grads, seed=v)),
        Entry("ntk of parts", "x1", "nest", lambda s, v: d.ntk(s.pair, v)),
        Entry("tangent_features of parts", "x", "nest", lambda s, v: d.tangent_features(s.pair, v, sketch=None)),
        Entry("NTKOperator of parts", "x", "nest", lambda s, v: d.NTKOperator(s.pair, v).diagonal()),
        Entry("DistilledNTK.fit of parts", "x", "nest", lambda s, v: d.DistilledNTK(s.pair).fit(v).weights),
        Entry("points", "source", "source", lambda s, v: d.ntk(s.model, d.points(v))),
        Entry("fit of points", "source", "source", lambda s, v: d.DistilledNTK(s.model).fit(d.points(v)).weights),
        *_solvers(),
        *_spectra(),
        *_distillers(),
        *_sketches(),
    ]


_ANY_SHAPE = (
    "torch array",
    "numpy array",
    "one row fewer",
    "one axis more",
    "one column fewer",
    "transposed",
    "half precision",
)


def _solvers() -> list[Entry]:
    d, like = dntk.solve, ("array_api_strict",)
    del like
    return [
        Entry("solve.ridge", "features", "features", lambda s, v: d.ridge(v, s.targets), ("dntk DistilledGradients",)),
        Entry("solve.ridge", "targets", "target", lambda s, v: d.ridge(s.phi, v)),
        Entry("solve.ridge", "ridge", "ridge", lambda s, v: d.ridge(s.phi, s.targets, ridge=v).weights),
        Entry("solve.ridge_path", "features", "features", lambda s, v: d.ridge_path(v, s.targets, [0.1])),
        Entry("solve.ridge_path", "targets", "target", lambda s, v: d.ridge_path(s.phi, v, [0.1])),
        Entry("solve.same_span", "grads", "features", lambda _, v: d.same_span(v), ("dntk DistilledGradients",)),
        Entry("solve.same_span", "targets", "target", lambda s, v: d.same_span(s.grads, v), ("None",)),
        Entry("solve.kernel_ridge", "kernel", "matrix", lambda s, v: d.kernel_ridge(v, s.targets)),
        Entry("solve.kernel_ridge", "targets", "target", lambda s, v: d.kernel_ridge(s.kernel, v)),
        Entry("solve.kernel_ridge", "ridge", "ridge", lambda s, v: d.kernel_ridge(s.kernel, s.targets, ridge=v).dual),
        Entry("solve.nystrom", "features", "features", lambda s, v: d.nystrom(v, s.targets, [0, 1])),
        Entry("solve.nystrom", "points", "label", lambda s, v: d.nystrom(s.phi, s.targets, v), _POSITIONS),
        Entry("solve.gaussian_process", "features", "features", lambda s, v: d.gaussian_process(v, s.targets)),
        Entry("solve.gaussian_process", "noise", "positive", lambda s, v: _gp(s, noise=v), ("None",)),
        Entry("solve.gaussian_process", "signal", "positive", lambda s, v: _gp(s, noise=0.1, signal=v), ("None",)),
        Entry("solve.accumulate", "chunks", "chunks", lambda _, v: d.accumulate(v)),
        Entry("solve.ridge_out_of_core", "chunks", "chunks", lambda _, v: d.ridge_out_of_core(v, ridge=0.1)),
        Entry("RidgeFit.predict", "phi", "features", lambda s, v: d.ridge(s.phi, s.targets, ridge=0.1).predict(v)),
        Entry("KFold", "folds", "integer", lambda _, v: d.KFold(folds=v)),
        Entry("KFold", "seed", "seed", lambda _, v: d.KFold(seed=v)),
    ]


_POSITIONS = ("3", "negative", "counted from 1", "one label fewer", "booleans", "range", "0-d label", "[int, int]")


def _gp(scene: Scene, **settings: Any) -> Any:
    return dntk.solve.gaussian_process(scene.phi, scene.targets, **settings).weights


def _spectra() -> list[Entry]:
    d = dntk.spectrum
    square = ("dntk TangentFeatures", "half precision", "transposed")
    return [
        Entry("spectrum.eigenvalues", "kernel", "matrix", lambda _, v: d.eigenvalues(v), square),
        Entry("spectrum.eigenvalues", "size", "batch", lambda s, v: d.eigenvalues(s.mean, v)),
        Entry("spectrum.truncation_rank", "kernel", "matrix", lambda _, v: d.truncation_rank(v), square),
        Entry("spectrum.truncation_rank", "epsilon", "share", lambda s, v: d.truncation_rank(s.mean, v), ("0", "0.0")),
        Entry("spectrum.effective_dimension", "kernel", "matrix", lambda _, v: d.effective_dimension(v, 0.1), square),
        Entry("spectrum.effective_dimension", "ridge", "positive", lambda s, v: d.effective_dimension(s.mean, v)),
        Entry("spectrum.condition_number", "kernel", "matrix", lambda _, v: d.condition_number(v), square),
        Entry("spectrum.alignment", "kernel", "matrix", lambda s, v: d.alignment(v, s.targets), square),
        Entry("spectrum.alignment", "targets", "target", lambda s, v: d.alignment(s.mean, v), _COLUMNS),
        Entry("spectrum.coverage_gap", "features", "features", lambda s, v: d.coverage_gap(v, s.grads.directions)),
        Entry("spectrum.coverage_gap", "directions", "target", lambda s, v: d.coverage_gap(s.phi, v), _COLUMNS),
        Entry(
            "spectrum.coverage",
            "vectors",
            "matrix",
            lambda s, v: d.coverage(v, s.grads.directions),
            (*square, "one column fewer"),
        ),
        Entry("spectrum.leading_eigenpairs", "features", "matrix", lambda _, v: d.leading_eigenpairs(v, 2), _ANY_SHAPE),
        Entry("spectrum.leading_eigenpairs", "size", "integer", lambda s, v: d.leading_eigenpairs(s.mean, v)),
        Entry("spectrum.mean_eigenpairs", "features", "features", lambda _, v: d.mean_eigenpairs(v, 2)),
        Entry(
            "spectrum.eigenpairs_holding", "phi", "features", lambda _, v: d.eigenpairs_holding(v, 0.9, first=2, last=4)
        ),
    ]


_COLUMNS = ("one column fewer", "half precision")


def _distillers() -> list[Entry]:
    found = []
    selectors: dict[str, Callable[..., Any]] = {
        "RPCholesky": S.RPCholesky,
        "FarthestPoint": S.FarthestPoint,
        "Herding": S.Herding,
        "KMeans": S.KMeans,
        "Leverage": S.Leverage,
        "Random": S.Random,
        "LCMD": S.LCMD,
        "MaxDet": S.MaxDet,
    }
    for name, make in selectors.items():
        found.append(Entry(f"{name}.select", "phi", "features", lambda _, v, make=make: make(4).select(v)))
        found.append(
            Entry(name, "size", "integer", lambda s, v, make=make: make(v).select(s.phi).indices, ("no such",))
        )
        if name not in ("FarthestPoint", "Herding", "LCMD", "MaxDet"):
            found.append(Entry(name, "seed", "seed", lambda s, v, make=make: make(4, seed=v).select(s.phi).indices))
    distillers: dict[str, Callable[..., Any]] = {
        "Principal": G.Principal,
        "Krylov": G.Krylov,
        "Solution": G.Solution,
        "LocalGlobal": lambda size, **rest: G.LocalGlobal(size=size, **rest),
    }
    for name, make in distillers.items():
        found += [
            Entry(f"{name}.distill", "phi", "features", lambda s, v, make=make: make(4).distill(v, s.targets)),
            Entry(f"{name}.distill", "targets", "target", lambda s, v, make=make: make(4).distill(s.phi, v)),
            Entry(
                name,
                "size",
                "batch" if name == "LocalGlobal" else "integer",
                lambda s, v, make=make: make(v).distill(s.phi, s.targets).values,
            ),
            Entry(name, "seed", "seed", lambda s, v, make=make: make(4, seed=v).distill(s.phi, s.targets).values),
        ]
    found += [
        Entry(
            "Solution", "ridge", "optional ridge", lambda s, v: G.Solution(4, ridge=v).distill(s.phi, s.targets).values
        ),
        Entry("LocalGlobal", "variance", "share", lambda _, v: G.LocalGlobal(variance=v)),
        Entry("Streaming", "size", "integer", lambda _, v: G.Streaming(v)),
        Entry("Balanced", "labels", "label", lambda s, v: S.Balanced(S.Random(6), v).select(s.phi), _CLASSES),
        Entry("LastLayer.select_inputs", "model", "model", lambda s, v: S.LastLayer(S.Random(3)).select_inputs(v, s.x)),
        Entry("LastLayer.select_inputs", "x", "input", lambda s, v: S.LastLayer(S.Random(3)).select_inputs(s.model, v)),
    ]
    objectives: dict[str, Callable[..., Any]] = {
        "TangentResidual": lambda **rest: S.TangentResidual(4, steps=1, **rest),
        "OutputResidual": lambda **rest: S.OutputResidual(4, steps=1, **rest),
        "KernelInducing": lambda **rest: S.KernelInducing(1, steps=1, **rest),
        "Wasserstein": lambda **rest: S.Wasserstein(1, steps=1, **rest),
    }
    for name, make in objectives.items():
        found += [
            Entry(name, "decays", "decays", lambda _, v, make=make: make(decays=v)),
            Entry(name, "learning_rate", "positive", lambda _, v, make=make: make(learning_rate=v)),
            Entry(name, "batch_size", "batch", lambda _, v, make=make: make(batch_size=v)),
            Entry(name, "seed", "seed", lambda _, v, make=make: make(seed=v)),
        ]
    for name in ("TangentResidual", "OutputResidual", "KernelInducing"):
        make = objectives[name]
        found += [
            Entry(f"{name}.distill", "model", "model", lambda s, v, make=make: make().distill(v, s.x, s.y)),
            Entry(f"{name}.distill", "x", "input", lambda s, v, make=make: make().distill(s.model, v, s.y)),
            Entry(f"{name}.distill", "y", "label", lambda s, v, make=make: make().distill(s.model, s.x, v), ("None",)),
        ]
    return found


_CLASSES = ("counted from 1", "negative", "far")


def _sketches() -> list[Entry]:
    d = dntk.sketch
    found = []
    families = {
        "Gaussian": d.Gaussian,
        "SparseSign": lambda dim, **rest: d.SparseSign(dim, nonzeros=1, **rest),
        "Rademacher": d.Rademacher,
        "SRHT": d.SRHT,
    }
    families |= {"TensorSketch": d.TensorSketch, "Mask": d.Mask}
    for name, make in families.items():
        found.append(Entry(name, "dim", "integer", lambda _, v, make=make: make(v)))
        found.append(Entry(name, "seed", "seed", lambda _, v, make=make: make(16, seed=v)))
    return [
        *found,
        Entry("sketch.choose", "model", "model", lambda _, v: d.choose(v, error=0.1, n=N)),
        Entry("sketch.choose", "error", "positive", lambda s, v: d.choose(s.model, error=v, n=N)),
        Entry("sketch.choose", "n", "integer", lambda s, v: d.choose(s.model, error=0.1, n=v)),
        Entry("outputs.loss", "model", "model", lambda _, v: dntk.outputs.loss(v)),
        Entry("outputs.margin", "model", "model", lambda _, v: dntk.outputs.margin(v)),
        Entry("outputs.labelled", "x", "input", _of_labelled),
        Entry("bridge", "model", "model", lambda _, v: dntk.bridge(v, "numpy")),
    ]


def _of_labelled(scene: Scene, value: Any) -> Any:
    return dntk.ntk(dntk.outputs.loss(scene.model), dntk.outputs.labelled(value, scene.y))
