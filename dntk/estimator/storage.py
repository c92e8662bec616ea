"""Storage of fits as archives, see :mod:`dntk.archive`."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dntk.archive import Format, Stored, StoreError, schema
from dntk.archive import read as read_archive
from dntk.archive import write as write_archive
from dntk.backend import backend_of, entries, get_backend
from dntk.certificates import Certificate, Span
from dntk.certificates.schema import CERTIFICATE, TOLERANCE
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.distill.data import DistilledData, distilled_data
from dntk.estimator import _probe
from dntk.estimator.losses import Losses
from dntk.estimator.once import Once
from dntk.estimator.state import FittedState
from dntk.identity import Identity, Watch
from dntk.ledger import Ledger, StageCost
from dntk.models.activations import ACTIVATIONS
from dntk.models.base import Model
from dntk.models.mlp import MLP
from dntk.sketch import description
from dntk.types import Array

_NETWORK = schema.record(
    layers=schema.integer(1, 10_000),
    activation=schema.choice(*ACTIVATIONS),
    selected=schema.optional(schema.items(schema.text)),
    backend=schema.text,
)
FORMAT = Format(
    name="dntk.DistilledNTK",
    version=4,
    kind="fit",
    reader="dntk.load(path)",
    fields={
        "fingerprint": schema.text,
        "place": schema.text,
        "probe": schema.optional(_probe.form),
        "network": schema.optional(_NETWORK),
        "sketch": schema.optional(description.FORM),
        "ridge": schema.number(0, above=True),
        "made_by": schema.mapping(schema.text),
        "losses": schema.fields_of(Losses),
        "certificate": schema.optional(CERTIFICATE),
        "tolerance": TOLERANCE,
        "data": schema.optional(distilled_data.DESCRIPTION),
        "ledger": schema.items(schema.fields_of(StageCost)),
    },
)


def save(model: Model, state: FittedState, path: str | Path) -> None:
    """Write a network's fit to the file ``path``, replacing one that was there; see :meth:`dntk.Fit.save`."""
    write_archive(path, FORMAT, _tensors(model, state), _manifest(model, state))


def read(path: str | Path, model: Model | None) -> tuple[Model, FittedState]:
    """The network and what was fitted; see :func:`dntk.load`."""
    stored = read_archive(path, FORMAT, others=(distilled_data.FORMAT,))
    with stored.building():
        network = model if model is not None else _stored_network(stored)
        identity = _identity(network, stored)
    watch = Watch(identity)
    found = watch.difference(network)
    if found:
        msg = f"`model` is not the network of the fit in {stored.path}: {found}. Pass the one that was fitted."
        raise StoreError(msg)
    with stored.building():
        return network, _state(network, stored, watch)


def _identity(network: Model, stored: Stored) -> Identity:
    backend, sizes = backend_of(next(iter(network.parameters.values()))), dict[str, int]()
    form = stored.manifest["probe"]

    def placed(name: str, axes: str, kind: str) -> Any:
        stored.array(name, axes, sizes, kind=kind)
        return stored.place(name, backend, device=network.device)

    return Identity(
        digest=stored.manifest["fingerprint"],
        place=stored.manifest["place"],
        probe=None if form is None else _probe.rebuilt(form, lambda i: placed(f"probe.{i}", "n ...", "any")),
        outputs=placed("probe.outputs", "n c", "floating"),
    )


def _state(network: Model, stored: Stored, watch: Watch) -> FittedState:
    manifest, backend = stored.manifest, backend_of(next(iter(network.parameters.values())))
    _require_shapes(stored, network)

    def array(name: str) -> Any:
        return stored.place(name, backend, device=network.device)

    tolerance = manifest["tolerance"]
    return FittedState(
        weights=array("weights"),
        span=Once.made(Span(basis=array("basis"), squares=array("squares"))),
        sketch=_sketch(manifest["sketch"], network, stored),
        ridge=float(manifest["ridge"]),
        spectrum=array("spectrum"),
        indices=array("indices") if "indices" in stored.arrays else None,
        data=_distilled(manifest["data"], array),
        losses=Losses(**manifest["losses"]),
        ledger=Ledger(stages=tuple(StageCost(**cost) for cost in manifest["ledger"])),
        tolerance=None if tolerance is None else ToleranceOutcome.from_dict(tolerance),
        certificate=_certificate(manifest["certificate"], array("weights")),
        made_by=dict(manifest["made_by"]),
        network=watch,
    )


def _require_shapes(stored: Stored, network: Model) -> None:
    sizes: dict[str, int] = {}
    for name, axes in (("weights", "g k"), ("basis", "g s k"), ("squares", "g s"), ("spectrum", "m")):
        stored.array(name, axes, sizes)
    if sizes["g"] not in (1, network.n_outputs):
        stored.refuse(f"has weights of {sizes['g']} outputs, but the network has {network.n_outputs}")
    if stored.manifest["data"] is None:
        stored.array("indices", "kept", sizes, kind="integral")
    if stored.manifest["data"] is not None:
        distilled_data.require_shapes(stored, "data.")
    if stored.manifest["sketch"] is None and sizes["k"] != network.n_parameters:
        stored.refuse(f"has weights of {sizes['k']} features, but the network has {network.n_parameters}")


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
    identity = state.network.identity
    tensors |= {f"probe.{i}": value for i, value in enumerate(_probe.described(identity.probe)[1])}
    tensors["probe.outputs"] = identity.outputs
    if state.indices is not None:
        tensors["indices"] = state.indices
    if state.data is not None:
        tensors |= {f"data.{name}": value for name, value in state.data.arrays.items()}
    if isinstance(model, MLP):
        tensors |= {f"network.weights.{i}": w for i, w in enumerate(model.weights)}
        tensors |= {f"network.biases.{i}": b for i, b in enumerate(model.biases) if b is not None}
    return tensors


def _manifest(model: Model, state: FittedState) -> dict[str, Any]:
    network = None
    if isinstance(model, MLP):
        network = {
            "layers": len(model.weights),
            "activation": model.activation,
            "selected": None if model.selected is None else list(model.selected),
            "backend": backend_of(model.weights[0]).name,
        }
    return {
        "fingerprint": state.network.identity.digest,
        "place": state.network.identity.place,
        "probe": _probe.described(state.network.identity.probe)[0],
        "network": network,
        "sketch": None if state.sketch is None else description.described(state.sketch),
        "ridge": state.ridge,
        "made_by": dict(state.made_by),
        "losses": dataclasses.asdict(state.losses),
        "certificate": state.certificate().to_dict() if state.certificate.is_made else None,
        "tolerance": None if state.tolerance is None else state.tolerance.to_dict(),
        "data": None if state.data is None else state.data.description,
        "ledger": [dataclasses.asdict(cost) for cost in state.costs.stages],
    }


def _stored_network(stored: Stored) -> Model:
    described = stored.manifest["network"]
    if described is None:
        msg = "the network is not in the file (only dntk.MLP is): pass it, dntk.load(path, model=dntk.as_model(net))."
        raise StoreError(msg)
    name = described["backend"]
    if name not in entries():
        msg = (
            f"the network in the file has arrays of {name}, for which no backend is registered: make the network of "
            "them and pass it, dntk.load(path, model=network)."
        )
        raise StoreError(msg)
    backend = get_backend(name)
    layers = range(described["layers"])

    def placed(name: str, axes: str) -> Any:
        stored.array(name, axes, {})
        return stored.place(name, backend)

    biases = (f"network.biases.{i}" for i in layers)
    return MLP(
        weights=tuple(placed(f"network.weights.{i}", "out in") for i in layers),
        biases=tuple(placed(name, "out") if name in stored.arrays else None for name in biases),
        activation=described["activation"],
        selected=None if described["selected"] is None else tuple(described["selected"]),
    )


def _distilled(stored: dict[str, Any] | None, array: Callable[[str], Any]) -> DistilledData | None:
    return None if stored is None else DistilledData.of({n: array(f"data.{n}") for n in ("x", "y", "weights")}, stored)


def _sketch(described: Mapping[str, Any] | None, network: Model, stored: Stored) -> Any:
    if described is None:
        return None
    sketch = description.rebuilt(described)
    if sketch.dim != stored.arrays["weights"].shape[1] or sketch.n_parameters != network.n_parameters:
        stored.refuse(
            f"has a sketch of {sketch.n_parameters} parameters to {sketch.dim} features for weights of "
            f"{stored.arrays['weights'].shape[1]} and a network of {network.n_parameters} parameters"
        )
    return sketch
