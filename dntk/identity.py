"""Which network a result belongs to: digests of all its arrays, and its outputs at a few points.

Taken when the result is made. Arrays are compared bit for bit; what no array tells, such as the activation functions,
shows in the outputs at the stored points.
"""

import dataclasses
from collections.abc import Hashable
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.archive.digests import fingerprint, mark, to_host
from dntk.backend import backend_of
from dntk.models import batches
from dntk.models.base import Model
from dntk.models.nests import mapped
from dntk.types import Array, Batch, Inputs

POINTS = 4
"""Points whose outputs are compared."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Identity:
    """A network as it was.

    Parameters
    ----------
    digest
        :func:`dntk.archive.fingerprint`.
    probe, outputs
        A few inputs, and the outputs there; no inputs where they could not be stored.
    place
        Library and device that the outputs were computed on.
    """

    digest: str
    probe: Batch | None
    outputs: Float[Array, "n c"]
    place: str

    @classmethod
    def of(cls, model: Model, x: Inputs, *, digest: str | None = None) -> "Identity":
        """That of a network, probed at the first of the checked inputs ``x``; one forward pass of four points.

        ``digest`` where that is known.
        """
        probe = mapped(_copy, batches.first(x, POINTS))
        return cls(
            digest=fingerprint(model) if digest is None else digest,
            probe=probe,
            outputs=model(probe),
            place=place_of(model),
        )

    def difference(self, model: Model) -> str:
        """How a network differs from the one that this was taken of; empty where it does not."""
        if fingerprint(model) != self.digest:
            return "its parameters or buffers (names, shapes, types or values) differ"
        if self.probe is None:
            return ""
        try:
            found = model(self.probe)
        except (TypeError, ValueError) as error:
            return f"it fails on the inputs that its outputs were kept for ({error})"
        return outputs_differ(
            to_host(found), to_host(self.outputs), rounding=rounding_of(model), same_place=self.place == place_of(model)
        )


def outputs_differ(found: Any, expected: Any, *, rounding: float, same_place: bool) -> str:
    """How outputs on the host differ by more than roundings of a network's dtype explain; empty where they do not.

    Of the largest output eps^0.6 is allowed in one place, 7e-5 in float32, some hundred roundings. On another device,
    which may round the factors of products to 10 bits, it is √eps, at least 0.005.
    """
    if found.shape != expected.shape:
        return f"it has outputs of shape {found.shape} where they were {expected.shape}"
    xp = arrays.namespace(found)
    if not bool(xp.all(xp.isfinite(found)) & xp.all(xp.isfinite(expected))):
        return "its outputs at the same inputs, or those that were kept, are not finite"
    largest = float(abs(expected).max())
    distance = float(abs(found.astype("f8") - expected).max())
    allowed = (rounding**0.6 if same_place else max(0.005, rounding**0.5)) * largest
    if distance <= allowed:
        return ""
    return (
        f"its outputs at the same inputs differ by {distance:.3g} where the largest is {largest:.3g} ({allowed:.1g} "
        "allowed): its parameters are the same, but not what it does with them (an activation, a layer, its forward)"
    )


class Watch:
    """Tells cheaply whether a network is still the one of an identity.

    The arrays are read once at every call, at memory's speed; digests and outputs are made only where that shows a
    change.
    Copies and pickles compare in full at their first call.
    """

    def __init__(self, identity: Identity, seen: Hashable = None) -> None:
        self.identity = identity
        self._seen = seen

    @classmethod
    def of(cls, model: Model, x: Inputs) -> "Watch":
        """One for the network as it is now."""
        seen = mark(model)
        return cls(Identity.of(model, x), seen)

    def difference(self, model: Model) -> str:
        """How the network differs now; empty where it does not."""
        now = mark(model)
        if now == self._seen:
            return ""
        found = self.identity.difference(model)
        if not found:
            self._seen = now
        return found

    def require_same(self, model: Model) -> None:
        """Raise ``ValueError`` where the network changed."""
        found = self.difference(model)
        if found:
            msg = (
                f"the network is not what it was when this was fitted: {found}. Fit again, or bring it back; fit a "
                "copy of a network that is to be trained on."
            )
            raise ValueError(msg)

    def __getstate__(self) -> dict[str, Any]:
        return {"identity": self.identity}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.identity, self._seen = state["identity"], None


def _copy(x: Array) -> Array:
    """The values as they are now: the caller may write into ``x``."""
    return arrays.namespace(x).asarray(x, copy=True)


def place_of(model: Model) -> str:
    """Library and kind of device of a network."""
    device = str(model.device).partition(":")[0]
    return f"{backend_of(next(iter(model.parameters.values()))).name} {device}"


def rounding_of(model: Model) -> float:
    """Unit of rounding of a network's dtype."""
    return float(model.namespace.finfo(model.dtype).eps)
