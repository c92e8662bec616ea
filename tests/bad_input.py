"""Bad input, thrown at every public entry on every library: what is refused in words, and what happens else.

    python -m tests.bad_input [--library numpy --library torch ...] [--all] [--out counts.json]

Every argument of every entry is given everything of its kind that a person may pass by mistake. An answer is
``documented``, a TypeError or ValueError (or a file that is not there) which dntk itself raises and which names the
argument and what to do; ``right``, where the value means the same as a proper one and the result is the same;
``foreign``, any other exception; ``nonsense``, a result.
"""

import argparse
import collections
import dataclasses
import importlib.util
import json
import math
import re
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import dntk
from dntk.backend import backend_of

LIBRARIES = ("numpy", "torch", "jax", "array_api_strict")
N, D, C = 12, 5, 3


@dataclasses.dataclass(frozen=True)
class Bad:
    """A value that somebody passes; ``same`` is what it means where it means something."""

    name: str
    value: Any
    same: Any = None


@dataclasses.dataclass(frozen=True)
class Entry:
    """One argument of a public entry: ``call(scene, value)``."""

    name: str
    argument: str
    kind: str
    call: Callable[["Scene", Any], Any]
    accepts: tuple[str, ...] = ()
    """Names of bad values that this entry takes."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What came of a bad value."""

    library: str
    entry: str
    argument: str
    value: str
    outcome: str
    message: str


class Scene:
    """A network, its data and what is made of them, in one library."""

    def __init__(self, library: str) -> None:
        self.library = library
        rng = np.random.default_rng(0)
        weights = [rng.normal(size=(7, D)) / 2, rng.normal(size=(C, 7)) / 2]
        self.net = self._network([w.astype(np.float32) for w in weights])
        self.model = dntk.as_model(*self.net)
        self.x = self.array(rng.normal(size=(N, D)).astype(np.float32))
        self.y = self.array(np.arange(N) % C)
        self.targets = self.array(rng.normal(size=(N, C)).astype(np.float32))
        self.phi = dntk.tangent_features(self.model, self.x, sketch=None)
        self.kernel = self.phi.kernel(outputs="each")
        self.mean = self.phi.kernel()
        self.grads = dntk.distill.gradients.Principal(4).distill(self.phi, self.targets)
        self.fit = dntk.DistilledNTK(self.model).fit(self.x)
        self.folder = tempfile.mkdtemp()
        self.saved = Path(self.folder) / "fit"
        self.fit.save(self.saved)

    def _network(self, weights: list[Any]) -> tuple[Any, ...]:
        if self.library == "torch":
            import torch

            net = torch.nn.Sequential(torch.nn.Linear(D, 7), torch.nn.Tanh(), torch.nn.Linear(7, C)).eval()
            with torch.no_grad():
                net[0].weight.copy_(torch.as_tensor(weights[0]))
                net[2].weight.copy_(torch.as_tensor(weights[1]))
            return (net,)
        if self.library == "jax":
            import jax.numpy as jnp

            params = {"first": jnp.asarray(weights[0]), "second": jnp.asarray(weights[1])}
            return (lambda p, x: jnp.tanh(x @ p["first"].T) @ p["second"].T, params)
        moved = tuple(self.array(w) for w in weights)
        return (dntk.MLP(weights=moved, biases=(None, None), activation="tanh"),)

    def array(self, host: Any) -> Any:
        """The array in this library."""
        host = np.asarray(host)
        if self.library == "numpy":
            return host
        if self.library == "torch":
            import torch

            return torch.as_tensor(host.copy())
        if self.library == "jax":
            import jax.numpy as jnp

            return jnp.asarray(host)
        import array_api_strict

        return array_api_strict.asarray(host)

    @property
    def host_x(self) -> Any:
        """The inputs in NumPy."""
        return np.array(backend_of(self.x).to_numpy(self.x))


def no_numbers() -> list[Bad]:
    """What is no number at all."""
    things = [
        None,
        "text",
        b"1",
        "0.1",
        1j,
        [1],
        (1, 2),
        {"a": 1},
        object(),
        float,
        np.array([1.0, 2.0]),
        np.array("a"),
    ]
    return [Bad(_shown(thing), thing) for thing in things] + [Bad("True", True), Bad("np.True_", np.True_)]


def integers(scene: Scene) -> list[Bad]:
    """Bad sizes, and integers that are none of Python's."""
    bad = [0, -1, -(2**40), 1.5, 2.0, np.float32(2), float("nan"), float("inf"), scene.array([2])]
    good = [np.int64(2), np.uint8(2), np.array(2), scene.array(2)]
    strict = scene.library == "array_api_strict"
    return [
        *no_numbers(),
        *(Bad(_shown(value), value) for value in bad),
        *(Bad(_shown(value), value, same=2) for value in (good[:3] if strict else good)),
    ]


def seeds(scene: Scene) -> list[Bad]:
    """Bad seeds."""
    return [value for value in integers(scene) if value.name != "0"] + [Bad("2**64", 2**64)]


def positives(scene: Scene) -> list[Bad]:
    """Bad positive numbers, and numbers that are none of Python's."""
    bad = [0, 0.0, -1, -0.5, float("nan"), np.float32("nan"), -float("inf"), np.array([0.1])]
    good = [np.float32(0.5), np.float64(0.5), np.array(0.5), scene.array(np.float32(0.5))]
    return [
        *no_numbers(),
        *(Bad(_shown(value), value) for value in bad),
        *(Bad(_shown(value), value, same=0.5) for value in good),
    ]


def shares(scene: Scene) -> list[Bad]:
    """Bad shares."""
    return [*positives(scene), Bad("1.5", 1.5), Bad("100", 100), Bad("inf", float("inf"))]


def ridges(scene: Scene) -> list[Bad]:
    """Bad ridges."""
    more = ["gcv", "", [], [0.0], [0.1, -1.0], ["a"], [None], np.zeros((2, 2)), {0.1}, float("inf"), [True]]
    taken = ("[1]", "(1, 2)", "ndarray float64 (2,)", "ndarray float64 (1,)", "{'a': 1}")
    return [value for value in positives(scene) if value.name not in taken] + [
        *(Bad(_shown(value), value) for value in more if not isinstance(value, set)),
        Bad("the class LeaveOneOut", dntk.solve.LeaveOneOut),
        Bad("{'a': 1}", {"a": 1}),
    ]


def words(_scene: Scene) -> list[Bad]:
    """Bad names of functionals."""
    things = ["man", "", None, -1, C, 10**9, 1.0, "1", b"mean", [0], (0,), True, float("nan"), object(), str]
    return [Bad(_shown(thing), thing) for thing in things]


def not_arrays(scene: Scene) -> list[Bad]:
    """What is no array, or not a plain one."""
    host = scene.host_x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy wishes that nobody used its matrix
        matrix = np.asmatrix(host)
    things = [
        *(None, "text", b"bytes", 3, 1.5, True, object(), np.ndarray, scene.net, scene.model, scene.phi, scene.fit),
        *(host.tolist(), tuple(host.tolist()), {"x": host}, {1.0, 2.0}, range(N), iter(host.tolist())),
        *([host, host], [], {}, np.ma.masked_array(host, host > 1), matrix, host.astype(object)),
        *(host.astype(str), host.astype("datetime64[s]"), host.astype(np.complex64), np.float32(1), np.array(None)),
        host.view([(f"f{i}", np.float32) for i in range(D)]),
    ]
    bad = [Bad(_shown(thing), thing) for thing in things] + foreign_containers(host)
    other = "torch" if scene.library != "torch" else "numpy"
    if importlib.util.find_spec(other):
        bad.append(Bad(f"{other} array", Scene.array(_Place(other), host)))
    return bad


def foreign_containers(host: Any) -> list[Bad]:
    """Frames, sparse matrices, loaders and bunches, of the libraries that are installed."""
    import scipy.sparse
    import sklearn.utils

    things: list[Any] = [scipy.sparse.csr_matrix(host), scipy.sparse.coo_array(host), sklearn.utils.Bunch(data=host)]
    if importlib.util.find_spec("torch"):
        import torch

        tensor = torch.as_tensor(host.copy())
        data = torch.utils.data.TensorDataset(tensor)
        things += [tensor.to_sparse(), data, torch.utils.data.DataLoader(data), torch.utils.data.Subset(data, [0])]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            things += [torch.nested.nested_tensor([tensor[0], tensor[1, :2]]), tensor.to_sparse_csr()]
    if importlib.util.find_spec("pandas"):
        import pandas

        frame = pandas.DataFrame(host)
        things += [frame, frame[0], frame.index]
    if importlib.util.find_spec("polars"):
        import polars

        frame = polars.DataFrame(host)
        things += [frame, frame.to_series(0), frame.lazy()]
    if importlib.util.find_spec("datasets"):
        import datasets
        import pyarrow

        stored = datasets.Dataset(pyarrow.table({"x": host.tolist()}), fingerprint="points")
        things += [stored, datasets.DatasetDict({"train": stored})]
    if importlib.util.find_spec("transformers"):
        import transformers

        things += [transformers.BatchEncoding({"input_ids": host}), transformers.BatchFeature({"pixel_values": host})]
    return [Bad(f"{type(thing).__module__.partition('.')[0]} {type(thing).__name__}", thing) for thing in things]


def arrays_like(scene: Scene, right: Any) -> list[Bad]:
    """Arrays of wrong shapes, types and numbers, beside what is no array."""
    host = np.array(backend_of(right).to_numpy(right)).astype(np.float32)
    nan, inf = host.copy(), host.copy()
    nan.reshape(-1)[1], inf.reshape(-1)[-1] = np.nan, -np.inf
    shapes = {
        "empty": host[:0],
        "one row fewer": host[:-1],
        "one axis more": host[..., None],
        "0-d": np.float32(1.0),
        "flat": host.reshape(-1)[: max(2, host.size - 1)],
        "NaN": nan,
        "infinite": inf,
        "half precision": host.astype(np.float16),
        "int8": host.astype(np.int8),
        "boolean": host > 0,
        "complex": host.astype(np.complex64),
    }
    if host.ndim > 1:
        shapes |= {"one column fewer": host[:, :-1], "no columns": host[:, :0], "transposed": host.T}
    found = []
    for name, value in shapes.items():
        if scene.library == "array_api_strict" and value.dtype == np.float16:
            continue
        found.append(Bad(name, scene.array(value)))
    return [*not_arrays(scene), *found]


def inputs(scene: Scene) -> list[Bad]:
    """Bad inputs; fewer rows are inputs too."""
    host = scene.host_x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources = {"points in a list": host.tolist(), "points in a matrix": np.asmatrix(host)}
    known = (
        *_SOURCES,
        "one row fewer",
        _shown(host.tolist()),
        _shown(np.ones((N, D), np.float32)).replace("ndarray", "matrix"),
    )
    double = [Bad("float64", scene.array(scene.host_x.astype(np.float64)))] if scene.library != "jax" else []
    named = [Bad(name, value, same=scene.x) for name, value in sources.items()]
    found = [bad for bad in arrays_like(scene, scene.x) if bad.name not in known and not isinstance(bad.value, dict)]
    if scene.library == "jax":  # functions of arrays promote them
        found = [bad for bad in found if bad.name not in ("int8", "boolean")]
    return [*found, *double, *named]


_SOURCES = (
    *("a tuple of 12", "a list of 2", "builtins range", "torch TensorDataset", "torch DataLoader"),
    *("torch Subset", "sklearn Bunch", "polars Series", "pandas Series", "datasets Dataset", "datasets DatasetDict"),
    *("transformers BatchEncoding", "transformers BatchFeature", "dntk TangentFeatures"),
)
"""Nests and sources of points, which are inputs for networks that take them, as dictionaries are."""


def targets(scene: Scene) -> list[Bad]:
    """Bad targets of the features' points."""
    return [*arrays_like(scene, scene.targets), Bad("labels", scene.y)]


def labels(scene: Scene) -> list[Bad]:
    """Bad labels of the points."""
    host = np.arange(N) % C
    wrong = {
        "counted from 1": host + 1,
        "negative": host - 1,
        "far": host + 1000,
        "one label fewer": host[:-1],
        "column": host[:, None],
        "floats": host.astype(np.float32),
        "booleans": host > 0,
        "scores": np.ones((N, C), np.float32),
        "0-d label": np.int64(1),
        "no labels": host[:0],
    }
    return [*not_arrays(scene), *(Bad(name, scene.array(value)) for name, value in wrong.items())]


def features(scene: Scene) -> list[Bad]:
    """What is no tangent features."""
    things = [
        scene.phi.values,
        scene.mean,
        scene.grads,
        dntk.TangentFeatures,
        [scene.phi],
        (scene.phi,),
        {"phi": scene.phi},
    ]
    return [*not_arrays_but(scene, scene.phi), *(Bad(_shown(thing), thing) for thing in things)]


def not_arrays_but(scene: Scene, *right: Any) -> list[Bad]:
    """As :func:`not_arrays`, without some things."""
    return [value for value in not_arrays(scene) if not any(value.value is one for one in right)]


def models(scene: Scene) -> list[Bad]:
    """What is no model."""
    things = [
        None,
        "resnet",
        3,
        dntk.MLP,
        scene.x,
        scene.phi,
        scene.fit,
        lambda x: x,
        [scene.model],
        {"model": 1},
        object(),
    ]
    found = [Bad(_shown(thing), thing) for thing in things]
    if not isinstance(scene.net[0], dntk.MLP):
        found += [Bad("an unwrapped network", scene.net[0]), Bad("network and parameters", scene.net)]
    if scene.library == "torch":
        import torch

        found += [Bad("DataParallel", torch.nn.DataParallel(scene.net[0])), Bad("class", torch.nn.Linear)]
    return found


def parts(*right: Any) -> Callable[[Scene], list[Bad]]:
    """Things that are no part of a specification, without those that are."""

    def found(scene: Scene) -> list[Bad]:
        wrong = [
            *(5, 1.5, "all", "", b"auto", True, [], [5], {"size": 5}, object(), scene.x, scene.phi, scene.model),
            *(dntk.distill.gradients.Principal, dntk.distill.data.RPCholesky, dntk.sketch.Gaussian, scene.grads),
            *(dntk.distill.gradients.Principal(3), dntk.distill.data.RPCholesky(3), dntk.sketch.Gaussian(16)),
            *(dntk.distill.data.Wasserstein(2), np.int64(3), float("nan"), lambda phi: phi),
        ]
        return [Bad(_shown(thing), thing) for thing in wrong if not isinstance(thing, right)]

    return found


def decays(_scene: Scene) -> list[Bad]:
    """Bad decays of averages."""
    things = [
        (2, 2),
        (0.9,),
        0.9,
        "ab",
        None,
        (0.9, 1.0),
        (-0.1, 0.9),
        (float("nan"), 0.9),
        (0.9, "a"),
        (0.9, True),
        [],
        {},
    ]
    return [Bad(_shown(thing), thing) for thing in things]


def paths(scene: Scene) -> list[Bad]:
    """Bad folders to read."""
    empty = Path(scene.folder) / "empty"
    empty.mkdir(exist_ok=True)
    file = Path(scene.folder) / "file"
    file.write_text("text")
    things = [None, 5, 1.5, b"\x00", [], object(), "", Path(scene.folder) / "nothing", empty, file, scene.fit, str]
    return [Bad(f"{_shown(thing)[:40]}", thing) for thing in things]


def chunks(scene: Scene) -> list[Bad]:
    """Bad chunks of features and targets."""
    phi, y = scene.phi.values, scene.targets
    host = np.array(backend_of(phi).to_numpy(phi))
    host[0, 0, 0] = np.nan
    short = y[: N - 1, :]
    things = [None, 5, "text", [], [phi], [(phi,)], [(phi, y, y)], [(phi, None)], [(None, y)], [(phi, short)], phi, [5]]
    named = [Bad(_shown(thing), thing) for thing in things]
    return [*named, Bad("NaN", [(scene.array(host), y)]), Bad("lists", [(host.tolist(), y)]), Bad("dict", {"x": phi})]


def data(scene: Scene) -> Any:
    """Points of two axes with labels, for objectives."""
    return scene.model, scene.x, scene.y


G, S = dntk.distill.gradients, dntk.distill.data
KINDS: dict[str, Callable[[Scene], list[Bad]]] = {
    "model": models,
    "input": inputs,
    "array": lambda scene: [bad for bad in inputs(scene) if bad.same is None],
    "second input": lambda scene: [value for value in inputs(scene) if value.value is not None],
    "label": labels,
    "target": lambda scene: [value for value in targets(scene) if value.name != "half precision"],
    "features": features,
    "integer": integers,
    "batch": lambda scene: [value for value in integers(scene) if value.value is not None],
    "seed": seeds,
    "positive": positives,
    "share": shares,
    "optional share": lambda scene: [value for value in shares(scene) if value.value is not None],
    "ridge": ridges,
    "optional ridge": lambda scene: [value for value in ridges(scene) if value.value is not None],
    "word": words,
    "sketch": parts(dntk.sketch.Gaussian, type(None)),
    "data": parts(S.RPCholesky, S.Wasserstein, type(None)),
    "gradients": parts(G.Principal, type(None)),
    "decays": decays,
    "path": paths,
    "chunks": chunks,
    "matrix": lambda scene: arrays_like(scene, scene.mean),
}


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
    }
    for name, make in selectors.items():
        found.append(Entry(f"{name}.select", "phi", "features", lambda _, v, make=make: make(4).select(v)))
        found.append(
            Entry(name, "size", "integer", lambda s, v, make=make: make(v).select(s.phi).indices, ("no such",))
        )
        if name not in ("FarthestPoint", "Herding"):
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
    for name in ("TangentResidual", "KernelInducing"):
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


@dataclasses.dataclass(frozen=True)
class _Place:
    library: str


def tried(scene: Scene, entry: Entry, bad: Bad) -> Case:
    """What an entry makes of a bad value."""
    message = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = entry.call(scene, bad.value)
            if bad.name in entry.accepts:
                outcome = "right"
            elif bad.same is None:
                outcome, message = "nonsense", repr(found)[:200]
            else:
                outcome = "right" if _same(found, entry.call(scene, bad.same)) else "nonsense"
    except Exception as error:
        outcome, message = _judged(error, entry.argument), f"{type(error).__name__}: {error}"
        if bad.same is not None:  # a number that is needlessly refused
            outcome = "foreign"
    return Case(scene.library, entry.name, entry.argument, bad.name, outcome, message)


_REMEDY = re.compile(
    r"[Ee]xpected|[Pp]ass |must be|[Cc]onvert|[Uu]se |at most|ask for|[Ww]rap|[Ll]eave|[Rr]emove|[Ff]ill|make |[Pp]ad |"
    r"pick|choose|collect|put its|take |[Ss]ubtract|need"
)


def _judged(error: Exception, argument: str) -> str:
    """``documented`` where dntk itself says it, names the argument and a remedy."""
    frames = traceback.extract_tb(error.__traceback__)
    own = "/dntk" in frames[-1].filename.replace("\\", "/")
    kinds = (TypeError, ValueError, IndexError, FileNotFoundError, dntk.StoreError)
    known = isinstance(error, kinds) and not isinstance(error, UnicodeError)
    text = str(error)
    named = (
        "`" in text
        or argument in text
        or argument == "path"
        or text.startswith(("examples ", "the network fails on inputs"))
    )
    return "documented" if own and known and named and _REMEDY.search(text) else "foreign"


def _same(found: Any, expected: Any) -> bool:
    """Whether two results are equal to the last bit."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        names = [field.name for field in dataclasses.fields(found) if field.compare]
        return all(_same(getattr(found, name), getattr(expected, name)) for name in names)
    if np.isscalar(found) and np.isscalar(expected):
        return bool(found == expected or (found != found and expected != expected))
    if getattr(found, "shape", ()) != getattr(expected, "shape", ()):
        return False
    if hasattr(found, "shape") and hasattr(found, "dtype") and hasattr(expected, "dtype"):
        pair = [np.asarray(backend_of(a).to_numpy(a)) for a in (found, expected)]
        return pair[0].shape == pair[1].shape and bool(np.array_equal(*pair, equal_nan=True))
    if isinstance(found, tuple | list):
        return len(found) == len(expected) and all(map(_same, found, expected))
    if callable(found) or type(found).__module__.startswith("dntk"):
        return type(found) is type(expected)
    return bool(found == expected) or (isinstance(found, float) and math.isnan(found) and math.isnan(expected))


def _shown(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype") and type(value).__module__.partition(".")[0] != "dntk":
        return f"{type(value).__name__} {str(value.dtype)[:24]} {tuple(value.shape)}"
    if isinstance(value, list | tuple) and len(str(value)) > 30:
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, str | bytes | int | float | complex | list | tuple | dict | Path):
        return repr(value)[:40]
    return f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"


def every(scene: Scene) -> Iterator[tuple[Entry, Bad]]:
    """All pairs of entries and bad values."""
    for entry in entries():
        for bad in KINDS[entry.kind](scene):
            yield entry, bad


def run(libraries: tuple[str, ...] = LIBRARIES, every_nth: int = 1, offset: int = 0) -> list[Case]:
    """Outcomes, of every ``every_nth`` pair from ``offset`` on."""
    cases = []
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = Scene(library)
        pairs = list(every(scene))[offset::every_nth]
        cases += [tried(scene, entry, bad) for entry, bad in pairs]
    return cases


def main() -> None:
    """Count, and show what is neither documented nor right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", action="append", choices=LIBRARIES)
    parser.add_argument("--every", type=int, default=1, help="only every so manyth pair")
    parser.add_argument("--all", action="store_true", help="show every message")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    cases = run(tuple(chosen.library or LIBRARIES), every_nth=chosen.every)
    for case in cases:
        if chosen.all or case.outcome in ("foreign", "nonsense"):
            print(
                f"{case.outcome:10} {case.library:7} {case.entry}({case.argument}={case.value}): {case.message[:160]}"
            )
    counts = {library: collections.Counter(c.outcome for c in cases if c.library == library) for library in LIBRARIES}
    for library, count in counts.items():
        print(library, dict(count))
    total = collections.Counter(case.outcome for case in cases)
    refused = total["documented"] + total["foreign"] + total["nonsense"]
    print(f"{len(cases)} cases; {dict(total)}; documented {total['documented'] / max(1, refused):.2%} of what is bad")
    if chosen.out:
        chosen.out.write_text(json.dumps({name: dict(count) for name, count in counts.items()}, indent=2))


if __name__ == "__main__":
    main()
