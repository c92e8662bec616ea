"""Storage of fitted estimators: a folder with safetensors and JSON, checksummed. Nothing in it is executed.

The folder is written beside its destination and renamed when whole, so that a full disk or a killed process leaves
what was there before.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dntk import arrays
from dntk.backend import backend_of, get_backend
from dntk.ledger import Ledger, StageCost
from dntk.losses import Losses
from dntk.mlp import MLP
from dntk.model import Model
from dntk.pipeline import DistilledNTK, FittedState
from dntk.sketch import SRHT, Gaussian, Kronecker, Mask, Mixed, ParameterMatrix, Rademacher, SparseSign, TensorSketch

FORMAT = "dntk.DistilledNTK"
VERSION = 1
_ARRAYS, _MANIFEST = "arrays.safetensors", "manifest.json"
_SKETCHES: dict[str, type] = {
    family.__name__: family for family in (Gaussian, Kronecker, Mask, Mixed, Rademacher, SRHT, SparseSign, TensorSketch)
}


class StoreError(ValueError):
    """A stored estimator is damaged, foreign, or belongs to another network."""


def save(estimator: DistilledNTK, state: FittedState, path: str | Path) -> None:
    """Write ``state`` to the folder ``path``, replacing an estimator that was there.

    A :class:`dntk.MLP` is stored with its weights; of other networks only the fingerprint of the parameters is, and
    :func:`load` needs the network again.

    Raises
    ------
    FileExistsError
        ``path`` exists and is no stored estimator.
    OSError
        The disk is full or not writable; what was at ``path`` is still there.
    """
    destination = Path(path)
    if destination.exists() and not (destination / _MANIFEST).is_file():
        msg = f"{destination} exists and is not a stored estimator: choose another path, or remove it."
        raise FileExistsError(msg)
    from safetensors.numpy import save as to_safetensors

    tensors = _tensors(estimator.model, state)
    payload = to_safetensors(tensors)
    manifest = _manifest(estimator, state, hashlib.sha256(payload).hexdigest())
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        (staging / _ARRAYS).write_bytes(payload)
        (staging / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _swap(staging, destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def load(path: str | Path, *, model: Model | None = None) -> DistilledNTK:
    """Read a stored estimator.

    Parameters
    ----------
    path
        Folder written by :meth:`dntk.DistilledNTK.save`.
    model
        The network, from :func:`dntk.as_model`, where it was no dntk.MLP; its parameters must be those of the fit.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    StoreError
        The folder is damaged, foreign, of a newer version, or of another network, or needs ``model``.
    ImportError
        It was made with a backend that is not installed.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    tensors = _read_arrays(folder, manifest)
    try:
        network = model if model is not None else _stored_network(manifest, tensors)
        _require_same_network(network, manifest["fingerprint"])
        backend = backend_of(next(iter(network.parameters.values())))

        def array(name: str) -> Any:
            return backend.from_numpy(tensors[name], device=network.device)

        state = FittedState(
            weights=array("weights"),
            basis=array("basis"),
            sketch=_sketch(manifest["sketch"]),
            ridge=float(manifest["ridge"]),
            spectrum=array("spectrum"),
            indices=array("indices"),
            losses=Losses(**manifest["losses"]),
            ledger=Ledger(stages=tuple(StageCost(**cost) for cost in manifest["ledger"])),
        )
    except (KeyError, TypeError) as error:
        msg = f"{folder / _MANIFEST} lacks or misstates {error}: the file is damaged or was edited."
        raise StoreError(msg) from error
    return DistilledNTK.from_state(network, state)


def fingerprint(model: Model) -> str:
    """SHA-256 of the names, shapes, types and values of the selected parameters."""
    digest = hashlib.sha256()
    for name, value in model.parameters.items():
        host = np.ascontiguousarray(backend_of(value).to_numpy(value))
        digest.update(f"{name}:{host.shape}:{host.dtype.str}".encode())
        digest.update(host.tobytes())
    return digest.hexdigest()


def _tensors(model: Model, state: FittedState) -> dict[str, Any]:
    tensors = {name: getattr(state, name) for name in ("weights", "basis", "spectrum", "indices")}
    if isinstance(model, MLP):
        tensors |= {f"network.weights.{i}": w for i, w in enumerate(model.weights)}
        tensors |= {f"network.biases.{i}": b for i, b in enumerate(model.biases) if b is not None}
    return {name: np.ascontiguousarray(backend_of(value).to_numpy(value)) for name, value in tensors.items()}


def _manifest(estimator: DistilledNTK, state: FittedState, checksum: str) -> dict[str, Any]:
    sketch = state.sketch
    if sketch is not None and type(sketch).__name__ not in _SKETCHES:
        msg = f"cannot store the sketch {sketch!r}: only {', '.join(_SKETCHES)} are known to load()."
        raise TypeError(msg)
    model = estimator.model
    network = None
    if isinstance(model, MLP):
        network = {
            "layers": len(model.weights),
            "activation": model.activation,
            "selected": None if model.selected is None else list(model.selected),
            "backend": backend_of(model.weights[0]).name,
        }
    return {
        "format": FORMAT,
        "version": VERSION,
        "arrays_sha256": checksum,
        "fingerprint": fingerprint(model),
        "network": network,
        "sketch": None if sketch is None else {"family": type(sketch).__name__, **dataclasses.asdict(sketch)},
        "ridge": state.ridge,
        "made_by": {"data": repr(estimator.data), "gradients": repr(estimator.gradients)},
        "losses": dataclasses.asdict(state.losses),
        "ledger": [dataclasses.asdict(cost) for cost in state.ledger.stages],
    }


def _swap(staging: Path, destination: Path) -> None:
    """Put the finished folder in place; the old one goes only when the new one is there."""
    if not destination.exists():
        os.replace(staging, destination)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{destination.name}.old.", dir=destination.parent))
    os.replace(destination, retired / "previous")
    try:
        os.replace(staging, destination)
    except OSError:
        os.replace(retired / "previous", destination)
        raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        msg = f"{folder} is not a folder: expected one written by DistilledNTK.save."
        raise FileNotFoundError(msg)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{folder} has no {_MANIFEST}: it is not a stored DistilledNTK."
        raise StoreError(msg) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        msg = f"{folder / _MANIFEST} is not JSON ({error}): the file is damaged."
        raise StoreError(msg) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        msg = f"{folder / _MANIFEST} does not describe a {FORMAT}."
        raise StoreError(msg)
    if manifest.get("version") != VERSION:
        msg = f"{folder} has format version {manifest.get('version')}, this dntk reads version {VERSION}: upgrade dntk."
        raise StoreError(msg)
    return manifest


def _read_arrays(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    try:
        payload = (folder / _ARRAYS).read_bytes()
    except FileNotFoundError as error:
        msg = f"{folder} has no {_ARRAYS}: the stored estimator is incomplete."
        raise StoreError(msg) from error
    found = hashlib.sha256(payload).hexdigest()
    if found != manifest.get("arrays_sha256"):
        msg = f"{folder / _ARRAYS} is damaged: its SHA-256 is {found[:12]}…, not the {_MANIFEST}'s. Fit and save again."
        raise StoreError(msg)
    try:
        tensors: dict[str, Any] = from_safetensors(payload)
    except SafetensorError as error:
        msg = f"{folder / _ARRAYS} is not a safetensors file ({error})."
        raise StoreError(msg) from error
    return tensors


def _stored_network(manifest: dict[str, Any], tensors: dict[str, Any]) -> Model:
    stored = manifest["network"]
    if stored is None:
        msg = "the network is not in the file (only dntk.MLP is): pass it, dntk.load(path, model=dntk.as_model(net))."
        raise StoreError(msg)
    backend = get_backend(stored["backend"])

    def array(name: str) -> Any:
        return backend.from_numpy(tensors[name]) if name in tensors else None

    layers = range(stored["layers"])
    return MLP(
        weights=tuple(array(f"network.weights.{i}") for i in layers),
        biases=tuple(array(f"network.biases.{i}") for i in layers),
        activation=stored["activation"],
        selected=None if stored["selected"] is None else tuple(stored["selected"]),
    )


def _require_same_network(model: Model, expected: str) -> None:
    arrays.namespace(*model.parameters.values())
    if fingerprint(model) != expected:
        msg = "`model` is not the network of the fit: its parameters (names, shapes, types or values) differ."
        raise StoreError(msg)


def _sketch(stored: dict[str, Any] | None) -> Any:
    if stored is None:
        return None
    fields = dict(stored)
    family = fields.pop("family")
    if family not in _SKETCHES:
        msg = f"unknown sketch family {family!r}: this dntk knows {', '.join(_SKETCHES)}."
        raise StoreError(msg)
    if fields.get("layout") is not None:
        fields["layout"] = tuple(ParameterMatrix(**matrix) for matrix in fields["layout"])
    if "widths" in fields:
        fields["widths"] = tuple((name, width) for name, width in fields["widths"])
    return _SKETCHES[family](**fields)
