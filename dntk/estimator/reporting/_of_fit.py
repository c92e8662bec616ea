"""What the page of a fit says, from the fit and from what it was given to measure."""

import dataclasses
from typing import Any

import numpy as np

from dntk import arrays
from dntk.archive import StoreError, checksum, to_host
from dntk.certificates import tangent_residual
from dntk.estimator.points import checked_targets, of_data
from dntk.estimator.reporting._versions import versions
from dntk.estimator.reporting.asked import Asked
from dntk.estimator.reporting.facts import Facts, Influence
from dntk.estimator.reporting.influence import coverage, influences, left_out
from dntk.estimator.reporting.measured import measured
from dntk.estimator.state import FittedState
from dntk.features import TangentFeatures, tangent_features
from dntk.models import batches
from dntk.models.base import Model, outputs_of
from dntk.probabilities import Probit
from dntk.report.images import are_images, as_address, grid, pixels_of
from dntk.types import Array, Inputs

_QUERIES = 3
_PICTURES = 100
_MISSING = {
    "unseen": "fit.report(path, x=x_test, y=y_test)",
    "features": "fit.report(path, x=x_test)",
    "labels": "fit.report(path, x=x_test, y=y_test)",
    "points": "fit.report(path, points=x)",
    "influence": "fit.report(path, x=x_test, points=x, queries=[0, 7])",
    "images": "fit.report(path, points=x, image_shape=(8, 8))",
    "plan": "fit.report(path, plan=specification.plan(x))",
}


_MISSING_IF_JOINT = {"influence": "DistilledNTK(model, regression=dntk.solve.Separate())"}


def facts_of(model: Model, state: FittedState, asked: Asked, *, certify: bool) -> Facts:
    """All that the page says; see :meth:`dntk.Fit.report` for what that costs."""
    asked = asked.checked(model, state)
    certificate, why = _certificate(state, certify=certify)
    more = _Making(model, state, asked).made()
    return Facts(
        title="dntk: a distilled kernel",
        outputs=model.n_outputs,
        parameters=model.n_parameters,
        losses=state.losses,
        ledger=state.costs,
        ridge=state.ridge,
        spectrum=tuple(to_host(state.spectrum).astype("f8").tolist()),
        choices=tuple(text for text in state.made_by.get("choices", "").split("; ") if text),
        tolerance=state.tolerance,
        certificate=certificate,
        uncertified=why,
        exact=None if asked.plan is None else asked.plan["exact kernel"].cost,
        missing=_MISSING | (_MISSING_IF_JOINT if state.is_joint else {}),
        provenance=_provenance(state),
        classes=tuple(asked.classes or ()),
        **more,
    )


def _certificate(state: FittedState, *, certify: bool) -> tuple[Any, tuple[str, str]]:
    """The certificate in plain values; or why there is none, and the call that makes it."""
    if not certify and not state.certificate.is_made:
        return None, ("The certificate was not made.", "fit.report(path, certify=True)")
    try:
        return state.certificate().to_dict(), ("", "")
    except StoreError:
        said = "This fit was read from a file that was saved without a certificate; fit again, then"
        return None, (said, "fit.save(path, certify=True)")


def _provenance(state: FittedState) -> tuple[tuple[str, str], ...]:
    identity = state.network.identity
    words = {"choices": "", "versions": "fitted with"}
    rows = [(words.get(name, f"specification: {name}"), text) for name, text in state.made_by.items()]
    rows = [row for row in rows if all(row)]
    rows.append(("sketch", "none, all parameters" if state.sketch is None else repr(state.sketch)))
    rows += [
        ("SHA-256 of the network", identity.digest),
        ("SHA-256 of the weights that came out", checksum({"": state.weights})),
        ("library and device of the network", identity.place),
    ]
    if state.data is not None:
        origin = state.data.provenance
        rows += [
            ("objective of the inputs", f"{origin.objective}, seed {origin.seed}"),
            ("SHA-256 of their data", origin.data),
        ]
    return (*rows, *((f"page made with {name}", version) for name, version in versions().items()))


@dataclasses.dataclass(frozen=True)
class _Making:
    """What is measured and drawn for a page."""

    model: Model
    state: FittedState
    asked: Asked

    def made(self) -> dict[str, Any]:
        """Fields of :class:`Facts`."""
        asked, found = self.asked, dict[str, Any]()
        kept = self._kept()
        if kept is not None and are_images(kept, asked.image_shape):
            found["pictures"] = (self._sheet(kept),)
        theirs = None if asked.points is None or kept is None else self._features(kept)
        if theirs is not None:
            found["coverage"] = coverage(self.state, theirs)
        if asked.x is None:
            return found
        phi, outputs = self._features(asked.x), outputs_of(self.model, asked.x)
        found["unseen"] = measured(self.state, phi, outputs, asked.y, asked.link or Probit())
        if theirs is not None and kept is not None and not self.state.is_joint:
            found["influence"] = self._influence(kept, theirs, phi, outputs)
        return found

    def _features(self, x: Inputs) -> TangentFeatures:
        return tangent_features(self.model, x, sketch=self.state.sketch, memory_limit=self.state.memory_limit)

    def _kept(self) -> Any:
        """Inputs of the points that the fit stands on, where they are known."""
        if self.state.data is not None:
            return self.state.data.x
        if self.asked.points is None or self.state.indices is None:
            return None
        return batches.take(self.asked.points, self.state.indices)

    def _targets(self, points: Inputs, kept: Array) -> Array:
        """What the regression was on at the kept points."""
        targets = checked_targets(self.model, points, self.asked.targets)
        if self.state.data is not None:
            return of_data(self.state.data, self.model, self.asked.targets, targets.like)
        assert self.state.indices is not None
        return targets.at(kept, self.state.indices)

    def _influence(self, kept: Array, theirs: TangentFeatures, phi: TangentFeatures, outputs: Array) -> Any:
        points, queries = self.asked.points, self.asked.queries
        assert points is not None
        if queries is None:
            trust = to_host(tangent_residual(phi, self.state.span().basis))
            queries = np.argsort(-trust, kind="stable")[:_QUERIES].tolist()
        if not queries:
            return ()
        xp = arrays.namespace(phi.values)
        places = xp.asarray(list(queries), device=arrays.device_of(phi.values))
        asked = TangentFeatures(xp.take(phi.values, places, axis=1), phi.sketch)
        left = left_out(self.state, theirs, self._targets(points, kept))
        found = influences(self.state, left, asked, xp.take(outputs, places, axis=0), queries)
        positions = None if self.state.indices is None else to_host(self.state.indices).tolist()
        return tuple(self._shown(each, kept, positions) for each in found)

    def _shown(self, found: Influence, kept: Any, positions: list[int] | None) -> Influence:
        """With pictures where inputs are images, and points by their positions in what was fitted."""
        points, picture = found.points, ""
        if are_images(kept, self.asked.image_shape):
            picture = self._pictures(self.asked.x, [found.query])[0]
            every = self._pictures(kept, [point.position for point in points])
            points = tuple(dataclasses.replace(p, picture=shown) for p, shown in zip(points, every, strict=True))
        if positions is not None:
            points = tuple(dataclasses.replace(p, position=positions[p.position]) for p in points)
        return dataclasses.replace(found, picture=picture, points=points)

    def _pictures(self, x: Any, places: list[int]) -> list[str]:
        pixels = pixels_of(batches.take(x, np.asarray(places)), self.asked.image_shape)
        return [as_address(image) for image in pixels]

    def _sheet(self, kept: Array) -> tuple[str, str]:
        """Kept inputs side by side, the first of many."""
        count = batches.count(kept)
        what = "distilled inputs" if self.state.data is not None else "kept points"
        some = f"The first {_PICTURES} of {count:,} {what}" if count > _PICTURES else f"The {count:,} {what}"
        pixels = pixels_of(batches.span(kept, 0, min(count, _PICTURES)), self.asked.image_shape)
        return f"{some}, each scaled to its own range", as_address(grid(pixels))
