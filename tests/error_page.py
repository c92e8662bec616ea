"""The page docs/errors.md, from the table of bad input; and what the table's lines are about.

After a change of the table, ``python -m tests.error_page`` writes the page.
"""

import importlib
import importlib.util
import pathlib
import warnings
from typing import Any

import numpy as np

import dntk
from dntk.backend import backend_of
from tests.error_table import TABLE, WORDS

PAGE = pathlib.Path(__file__).parent.parent / "docs/errors.md"
FEATURES, CLASSES = 5, 3


NEEDS = {
    "frame": "pandas",
    "polars_frame": "polars",
    "hf_dataset": "datasets",
    "encoding": "transformers",
    "zarr_array": "zarr",
    "zarr_group": "zarr",
}
"""Libraries of things that are passed, where dntk itself needs them not."""


def names(library: str) -> dict[str, Any]:
    """What the table's lines are about, in one library."""
    from tests.bad_input.scene import Scene

    scene = Scene(library)
    host, values = scene.host_x, np.array(backend_of(scene.phi.values).to_numpy(scene.phi.values))
    spoilt = host.copy()
    spoilt[1, 2] = values[0, 1, 2] = np.nan
    network = scene.net[0]
    return {
        "dntk": dntk,
        "np": np,
        "net": (lambda x: x) if isinstance(network, dntk.MLP) else network,
        "model": scene.model,
        "x": scene.x,
        "y": scene.y,
        "targets": scene.targets,
        "phi": scene.phi,
        "values": scene.phi.values,
        "grads": scene.grads,
        "fit": scene.fit,
        "path": scene.saved,
        "host": host,
        "with_nan": scene.array(spoilt),
        "nan_values": scene.array(values),
        "integers": scene.array((host * 100).astype(np.int32)),
        "double": scene.array(host.astype(np.float64)),
        "ascending": scene.array(np.array([1.0, 2.0, 3.0], np.float32)),
        "spoilt": spoilt,
        "shrinking": lambda: _Shrinking(host),
        **_containers(host),
        **_networks_of_parts(library),
    }


class _Shrinking(list[Any]):
    """A data set that loses a point whenever one is read."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.pop()
        return found


def _networks_of_parts(library: str) -> dict[str, Any]:
    """A model of two arrays, and one whose network answers with no logits; where the library has functions."""
    weights = np.ones((FEATURES, CLASSES), np.float32)
    if library == "torch":
        return _of_modules(weights)
    if library == "jax":
        weights = importlib.import_module("jax.numpy").asarray(weights)
    elif library != "numpy" or importlib.util.find_spec("autograd") is None:
        return {}
    return {
        "pair": dntk.as_model(lambda p, batch: (batch["x"] * batch["y"]) @ p["w"], {"w": weights}),
        "hidden": dntk.as_model(lambda p, x: {"hidden": x @ p["w"]}, {"w": weights}),
    }


def _of_modules(weights: Any) -> dict[str, Any]:
    import torch

    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.as_tensor(weights))

        def forward(self, x: Any, y: Any) -> Any:
            return (x * y) @ self.w

    class Hidden(Pair):
        def forward(self, x: Any) -> Any:
            return {"hidden": x @ self.w}

    return {"pair": dntk.as_model(Pair().eval()), "hidden": dntk.as_model(Hidden().eval())}


def _containers(host: Any) -> dict[str, Any]:
    import scipy.sparse
    import sklearn.linear_model
    import sklearn.utils

    from tests.bad_input.values import Record

    found = {
        "sparse": scipy.sparse.csr_matrix(host),
        "bunch": sklearn.utils.Bunch(data=host),
        "estimator": sklearn.linear_model.LogisticRegression(),
        "record": Record(host),
    }
    for name in ("torch", *sorted(set(NEEDS.values()))):
        if importlib.util.find_spec(name) is not None:
            found |= _MAKE[name](host)
    return found


def _of_torch(host: Any) -> dict[str, Any]:
    import torch

    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(tensor)

        def __len__(self) -> int:
            return len(tensor)

    tensor = torch.as_tensor(host.copy())
    data = torch.utils.data.TensorDataset(tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([tensor[0], tensor[1, :2]])
    return {
        "parallel": torch.nn.DataParallel(torch.nn.Linear(FEATURES, CLASSES)),
        "loader": torch.utils.data.DataLoader(data),
        "labelled_loader": torch.utils.data.DataLoader([(row, 0) for row in tensor]),  # type: ignore[arg-type]
        "stream": Stream(),
        "tensor_dataset": data,
        "sparse_tensor": tensor.to_sparse(),
        "nested_tensor": nested,
        "torch_x": tensor,
    }


def _of_datasets(host: Any) -> dict[str, Any]:
    import datasets
    import pyarrow

    return {"hf_dataset": datasets.Dataset(pyarrow.table({"x": host.tolist()}), fingerprint="points")}


def _of_transformers(host: Any) -> dict[str, Any]:
    import transformers

    return {"encoding": transformers.BatchEncoding({"input_ids": host})}


def _of_zarr(host: Any) -> dict[str, Any]:
    import zarr

    return {"zarr_array": zarr.array(host), "zarr_group": zarr.group()}


_MAKE: dict[str, Any] = {
    "zarr": _of_zarr,
    "torch": _of_torch,
    "pandas": lambda host: {"frame": importlib.import_module("pandas").DataFrame(host)},
    "polars": lambda host: {"polars_frame": importlib.import_module("polars").DataFrame(host)},
    "datasets": _of_datasets,
    "transformers": _of_transformers,
}


def page() -> str:
    """docs/errors.md."""
    words = WORDS["numpy"]
    lines = [_HEAD]
    for topic, rows in TABLE.items():
        lines += [f"## {topic}", "", "| You write | It says |", "|---|---|"]
        for row in rows:
            said = row.told(words).replace("|", "\\|").replace("`", "")
            lines.append(f"| `{row.given}` | `{row.error}: {said}` |")
        lines.append("")
    return "\n".join(lines)


_HEAD = """# Errors

What dntk says of bad input, and what to do about it. A message names the argument, what came, what was expected, and a
remedy; values that are wrong are `ValueError`, kinds that are wrong `TypeError`. Every line of this page is a test, on
NumPy, PyTorch, JAX and array-api-strict; shown is what it says of NumPy arrays.

Here `net` is a network and `model = dntk.as_model(net)` takes 5 features and has 3 outputs; `x` are 12 inputs, `y`
their classes, `targets` an array (12, 3); `phi` are tangent features, `values` their array; `grads` are synthetic
gradients, `fit` is a fit, `path` where one is stored. `host` are the inputs in NumPy, `frame` holds them in pandas,
`spoilt` are they with a NaN in the row 1. `pair` is a model of two arrays, `x` and `y`, and the network of `hidden`
answers with a dictionary that has no logits. The other names say what they are.

A loader that shuffles is no error: it stands for its data set, whose points are read in their order.

Numbers may be Python's, NumPy's, or arrays without axes: `ridge=np.float32(0.1)` and `size=np.int64(5)` are taken,
`True` is not a number.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
