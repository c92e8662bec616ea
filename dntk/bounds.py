"""What a theorem says of a quantity: a bound or an interval, with its source and how far it can be trusted."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from jaxtyping import Float

from dntk import arrays
from dntk._checks import share
from dntk._text import printable
from dntk.backend import backend_of
from dntk.types import Array

Kind: TypeAlias = Literal["deterministic", "probabilistic", "empirical", "measured", "expected"]
"""How a statement is known, the one vocabulary of the library.

``"deterministic"``
    A theorem that always holds, in exact arithmetic. What rounding may add is part of the value; it is four times the
    most that was ever measured (``dntk/certificates/rounding.py``), which nothing proves to be enough.
``"probabilistic"``
    A theorem that fails with a stated probability over the seeds of the estimator; never over the data, unless the
    theorem says "sampled".
``"empirical"``
    A band that no theorem proves for this case, and that no trial has left.
``"measured"``
    Computed on another kernel than the certificate's; no bound.
``"expected"``
    A root mean square over seeds; no bound.
"""

_MOST_SHARED = 1 - 1e-13


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
    """An upper bound, rounding included.

    Parameters
    ----------
    value
        A number, or an array with one entry per output.
    theorem
        The inequality.
    kind
        ``"deterministic"``, ``"probabilistic"`` or ``"empirical"``, see ``dntk.bounds.Kind``.
    confidence
        Probability with which it holds, 1 for deterministic ones.
    shares
        What each stage adds to it.
    """

    value: float | Float[Array, "..."]
    theorem: str
    kind: Kind = "deterministic"
    confidence: float = 1.0
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __float__(self) -> float:
        """The value, the largest where there are several."""
        if isinstance(self.value, int | float):
            return float(self.value)
        return float(arrays.namespace(self.value).max(self.value))

    @printable
    def __str__(self) -> str:
        trust = trust_in(self)
        return f"at most {float(self):.4g}, {trust} ({self.theorem})"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings."""
        return {
            "value": plain(self.value),
            "theorem": self.theorem,
            "kind": self.kind,
            "confidence": self.confidence,
            "shares": dict(self.shares),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
    """Lower and upper bounds of several quantities; unpacks as ``lower, upper = intervals``."""

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]
    theorem: str
    kind: Kind = "deterministic"
    confidence: float = 1.0

    @property
    def value(self) -> tuple[Array, Array]:
        """Both ends."""
        return self.lower, self.upper

    def __iter__(self) -> Iterator[Array]:
        """Lower, then upper."""
        return iter(self.value)

    def __getitem__(self, end: int) -> Array:
        """Lower for 0, upper for 1."""
        return self.value[end]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings."""
        return {
            "lower": plain(self.lower),
            "upper": plain(self.upper),
            "theorem": self.theorem,
            "kind": self.kind,
            "confidence": self.confidence,
        }


def trust_in(statement: Bound | Intervals) -> str:
    """When a statement holds, in words."""
    if statement.kind == "deterministic":
        return "always"
    trust = f"with probability {statement.confidence:.6g}"
    return f"{trust}, empirically" if statement.kind == "empirical" else trust


def plain(value: Any) -> Any:
    """A number, or nested lists of numbers, on the host."""
    if isinstance(value, int | float):
        return float(value)
    return backend_of(value).to_numpy(value).tolist()


def check_confidence(confidence: float, *, shared: bool = False) -> None:
    """Raise ``ValueError`` unless the confidence is a probability strictly between 0 and 1.

    ``shared``: several statements share 1 − confidence; it has to keep digits enough for that, and be 1e-13 or more.
    """
    confidence = share("confidence", confidence, what="between 0 and 1", remedy="use for example 0.999")
    if shared and confidence > _MOST_SHARED:
        msg = f"`confidence` must be at most 1 - 1e-13, got {confidence!r}: several statements share what is left."
        raise ValueError(msg)
