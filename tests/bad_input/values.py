"""What a person may pass by mistake, by kind of argument."""

import dataclasses
import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dntk
from dntk.backend import backend_of
from tests.bad_input.judge import _shown
from tests.bad_input.scene import Bad, C, D, N, Scene


@dataclasses.dataclass(frozen=True)
class _Place:
    library: str


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
    things += data_sets(host) + estimators(host) + stored_arrays(host)
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
    return [
        Bad(thing.name, thing.value)
        if isinstance(thing, _Named)
        else Bad(f"{type(thing).__module__.partition('.')[0]} {type(thing).__name__}", thing)
        for thing in things
    ]


def data_sets(host: Any) -> list[Any]:
    """Data sets and loaders of PyTorch, of points alone, of pairs, and of streams."""
    if not importlib.util.find_spec("torch"):
        return []
    import torch
    from torch.utils.data import ChainDataset, ConcatDataset, DataLoader, IterableDataset

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(torch.as_tensor(host.copy()))

    class CountedStream(Stream):
        def __len__(self) -> int:
            return len(host)

    class LoaderOfStream(DataLoader[Any]):
        pass

    class LoaderOfPairs(DataLoader[Any]):
        pass

    pairs = [(row, i % C) for i, row in enumerate(torch.as_tensor(host.copy()))]
    return [
        *(Stream(), CountedStream(), ChainDataset([Stream()]), LoaderOfStream(Stream(), batch_size=4)),
        *(ConcatDataset([pairs]), LoaderOfPairs(pairs, batch_size=4, shuffle=True)),  # type: ignore[arg-type]
    ]


def estimators(host: Any) -> list[Any]:
    """What scikit-learn's users have at hand, fitted and not."""
    from sklearn import linear_model, pipeline, preprocessing, svm

    unfitted = linear_model.LogisticRegression()
    return [
        *(unfitted, svm.SVC(kernel="precomputed"), linear_model.LinearRegression().fit(host, host[:, 0])),
        *(preprocessing.StandardScaler(), pipeline.make_pipeline(preprocessing.StandardScaler(), unfitted)),
    ]


@dataclasses.dataclass
class Record:
    """A batch of one array, as data classes of users are."""

    pixels: Any


def stored_arrays(host: Any) -> list[Any]:
    """Arrays on the disk, buffers, and records of arrays."""
    things: list[Any] = [memoryview(host), Record(host), Record("text"), Record]
    if importlib.util.find_spec("zarr"):
        import zarr

        spoilt = host.copy()
        spoilt[5, 1] = np.nan
        group = zarr.group()
        group.create_array("x", data=host)
        things += [zarr.array(host), group, _Named("Zarr with NaN", zarr.array(spoilt))]
    return things


@dataclasses.dataclass(frozen=True)
class _Named:
    """A thing whose class says too little of it."""

    name: str
    value: Any


def mapped(scene: Scene) -> Any:
    """The inputs in a memory map."""
    path = Path(scene.folder) / "mapped"
    if not path.exists():
        scene.host_x.tofile(path)
    return np.memmap(path, dtype=np.float32, mode="r", shape=(N, D))


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
    sources = {"points in a list": host.tolist()}
    known = (*_SOURCES, "one row fewer", _shown(host.tolist()))
    if importlib.util.find_spec("zarr"):
        import zarr

        sources["points in Zarr"] = zarr.array(host)
    if scene.library == "numpy":
        sources["points in a memory map"] = mapped(scene)
    double = [Bad("float64", scene.array(scene.host_x.astype(np.float64)))] if scene.library != "jax" else []
    named = [Bad(name, value, same=scene.x) for name, value in sources.items()]
    found = [bad for bad in arrays_like(scene, scene.x) if bad.name not in known and not isinstance(bad.value, dict)]
    if scene.library == "jax":  # functions of arrays promote them
        found = [bad for bad in found if bad.name not in ("int8", "boolean")]
    return [*found, *double, *named]


def nests(scene: Scene) -> list[Bad]:
    """Bad batches of two arrays, ``x`` and ``y``."""
    if scene.pair is None:
        return []
    x, host = scene.x, scene.host_x
    spoilt = host.copy()
    spoilt[3, 1] = np.nan
    bad = {
        "no parts": {},
        "parts of nothing": {"x": None, "y": None},
        "lengths differ": {"x": x, "y": x[: N - 1, :]},
        "no points": {"x": x[:0, :], "y": x[:0, :]},
        "a part with NaN": {"x": x, "y": scene.array(spoilt)},
        "a part that is a text": {"x": x, "y": "text"},
        "a part that is a number": {"x": x, "y": 1.0},
        "a part of objects": {"x": x, "y": host.astype(object)},
        "a part without axes": {"x": x, "y": scene.array(np.float32(1.0))},
        "examples with other parts": [{"x": host[0], "y": host[0]}, {"x": host[0]}],
        "examples of several shapes": [{"x": host[0], "y": host[0]}, {"x": host[1], "y": host[1, :3]}],
        "examples with texts": [{"x": host[0], "y": "text"}] * 3,
        "examples with NaN": [{"x": row, "y": row} for row in spoilt],
    }
    if scene.library == "torch":
        bad |= {
            "a part on another device": {"x": x, "y": x.to("meta")},
            "a part in float64": {"x": x, "y": x.double()},
            "labels among the parts": {"x": x, "y": x, "labels": scene.y},
            "a part of another library": {"x": x, "y": host},
            "a part is missing": {"x": x},
        }
    right = {"x": x, "y": x}
    same = {"a list of examples": [{"x": row, "y": row} for row in host]}
    return [Bad(name, value) for name, value in bad.items()] + [
        Bad(name, value, same=right) for name, value in same.items()
    ]


class _Changing(list[Any]):
    """A data set that loses a point whenever one is read."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.pop()
        return found


def sources(scene: Scene) -> list[Bad]:
    """What is no source of points of one array, or a bad one."""
    host = scene.host_x
    spoilt = host.copy()
    spoilt[7, 1] = np.inf
    rows = list(host)
    bad = {
        "None": None,
        "a number": 3,
        "a text": "text",
        "a class": list,
        "an iterator": iter(rows),
        "a mapping": {"train": rows},
        "nothing": [],
        "texts": ["a", "b"],
        "objects": [object()] * 3,
        "shapes": [*rows[:2], rows[2][:3]],
        "parts": [(rows[0], rows[1]), (rows[0],)],
        "kinds": [rows[0], {"x": rows[0]}],
        "losing points": _Changing(rows),
        "NaN": list(spoilt),
        "narrow": [row[:3] for row in rows],
        "collate of fewer": dntk.points(rows, collate=lambda some: np.stack(some[1:])),
        "collate of texts": dntk.points(rows, collate=lambda _: "text"),
        "collate of nothing": dntk.points(rows, collate=lambda _: None),
        "stored array with NaN": spoilt,
    }
    good = {
        "rows": rows,
        "lists": host.tolist(),
        "stored array": host,
        "a collate": dntk.points(rows, collate=np.stack),
        "a memory map": mapped(scene),
    }
    if importlib.util.find_spec("zarr"):
        import zarr

        good["Zarr"] = zarr.array(host)
    if importlib.util.find_spec("torch"):
        import torch

        good["a loader that shuffles"] = torch.utils.data.DataLoader(rows, batch_size=5, shuffle=True)  # type: ignore[arg-type]
    return [Bad(name, value) for name, value in bad.items()] + [
        Bad(name, value, same=scene.x) for name, value in good.items()
    ]


_SOURCES = (
    *("a tuple of 12", "a list of 2", "builtins range", "torch TensorDataset", "torch DataLoader"),
    *("torch Subset", "sklearn Bunch", "polars Series", "pandas Series", "datasets Dataset", "datasets DatasetDict"),
    *("transformers BatchEncoding", "transformers BatchFeature", "dntk TangentFeatures", "zarr Array"),
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
    "nest": nests,
    "source": sources,
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
