"""Storage of fits as folders of :mod:`dntk.archive`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dntk import arrays
from dntk.archive import MANIFEST, StoreError, fingerprint, read_arrays, read_manifest, to_host, write_folder
from dntk.backend import backend_of, get_backend
from dntk.certificates import Certificate, Span
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.distill.data import DistilledData, distilled_data
from dntk.estimator.losses import Losses
from dntk.estimator.once import Once
from dntk.estimator.state import FittedState
from dntk.ledger import Ledger, StageCost
from dntk.models.base import Model
from dntk.models.mlp import MLP
from dntk.sketch import SRHT, Gaussian, Kronecker, Mask, Mixed, ParameterMatrix, Rademacher, SparseSign, TensorSketch
from dntk.types import Array

FORMAT = "dntk.DistilledNTK"
VERSION = 2
_SKETCHES: dict[str, type] = {
    family.__name__: family for family in (Gaussian, Kronecker, Mask, Mixed, Rademacher, SRHT, SparseSign, TensorSketch)
}


def save(model: Model, state: FittedState, path: str | Path) -> None:
    """Write a network's fit to the folder ``path``, replacing one that was there; see :meth:`dntk.Fit.save`."""
    write_folder(path, _tensors(model, state), _manifest(model, state), kind="fit")


def read(path: str | Path, model: Model | None) -> tuple[Model, FittedState]:
    """The network and what was fitted; see :func:`dntk.load`."""
    folder = Path(path)
    manifest = _manifest_of(folder)
    tensors = read_arrays(folder, manifest, kind="fit")
    try:
        network = model if model is not None else _stored_network(manifest, tensors)
        _require_same_network(network, manifest["fingerprint"])
        return network, _state(network, manifest, tensors)
    except (KeyError, TypeError) as error:
        msg = f"{folder / MANIFEST} lacks or misstates {error}: the file is damaged or was edited."
        raise StoreError(msg) from error


def _manifest_of(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder, {FORMAT: VERSION, **distilled_data.FORMATS}, kind="Fit")
    if manifest["format"] != FORMAT:
        msg = f"{folder} holds distilled data, not a fit: read it with dntk.distill.data.DistilledData.load(path)."
        raise StoreError(msg)
    return manifest


def _state(network: Model, manifest: dict[str, Any], tensors: dict[str, Any]) -> FittedState:
    backend = backend_of(next(iter(network.parameters.values())))

    def array(name: str) -> Any:
        return backend.from_numpy(tensors[name], device=network.device)

    tolerance = manifest["tolerance"]
    return FittedState(
        weights=array("weights"),
        span=Once.made(Span(basis=array("basis"), squares=array("squares"))),
        sketch=_sketch(manifest["sketch"]),
        ridge=float(manifest["ridge"]),
        spectrum=array("spectrum"),
        indices=array("indices") if "indices" in tensors else None,
        data=_distilled(manifest["data"], array),
        losses=Losses(**manifest["losses"]),
        ledger=Ledger(stages=tuple(StageCost(**cost) for cost in manifest["ledger"])),
        tolerance=None if tolerance is None else ToleranceOutcome.from_dict(tolerance),
        certificate=_certificate(manifest["certificate"], array("weights")),
        made_by=dict(manifest["made_by"]),
    )


def _certificate(stored: dict[str, Any] | None, like: Array) -> Once[Certificate]:
    return Once(_not_stored) if stored is None else Once.made(Certificate.from_dict(stored, like))


def _not_stored() -> Certificate:
    msg = (
        "the certificate was not made before this fit was saved, and its features are gone: fit again, and read "
        ".certificate before saving, or call save(path, certify=True)."
    )
    raise StoreError(msg)


def _tensors(model: Model, state: FittedState) -> dict[str, Any]:
    span = state.span()
    tensors = {"weights": state.weights, "basis": span.basis, "squares": span.squares, "spectrum": state.spectrum}
    if state.indices is not None:
        tensors["indices"] = state.indices
    if state.data is not None:
        tensors |= {f"data.{name}": value for name, value in state.data.arrays.items()}
    if isinstance(model, MLP):
        tensors |= {f"network.weights.{i}": w for i, w in enumerate(model.weights)}
        tensors |= {f"network.biases.{i}": b for i, b in enumerate(model.biases) if b is not None}
    return {name: to_host(value) for name, value in tensors.items()}


def _manifest(model: Model, state: FittedState) -> dict[str, Any]:
    sketch = state.sketch
    if sketch is not None and type(sketch).__name__ not in _SKETCHES:
        msg = f"cannot store the sketch {sketch!r}: only {', '.join(_SKETCHES)} are known to load()."
        raise TypeError(msg)
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
        "fingerprint": fingerprint(model),
        "network": network,
        "sketch": None if sketch is None else {"family": type(sketch).__name__, **dataclasses.asdict(sketch)},
        "ridge": state.ridge,
        "made_by": dict(state.made_by),
        "losses": dataclasses.asdict(state.losses),
        "certificate": state.certificate().to_dict() if state.certificate.is_made else None,
        "tolerance": None if state.tolerance is None else state.tolerance.to_dict(),
        "data": None if state.data is None else state.data.description,
        "ledger": [dataclasses.asdict(cost) for cost in state.ledger.stages],
    }


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


def _distilled(stored: dict[str, Any] | None, array: Callable[[str], Any]) -> DistilledData | None:
    return None if stored is None else DistilledData.of({n: array(f"data.{n}") for n in ("x", "y", "weights")}, stored)


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
