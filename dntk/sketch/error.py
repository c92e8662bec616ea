"""What a sketch's theorem says of the kernel it leaves."""

import dataclasses
import math
from typing import Protocol, runtime_checkable

from dntk._checks import positive_integer
from dntk._text import printable
from dntk.bounds import Kind, check_confidence

SUBSPACE = "all eigenvalues, relative"
FROBENIUS = "Frobenius norm, relative to the trace"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SketchError:
    """Bound on the error of a sketched kernel K̂ of n feature rows, which holds with probability ``confidence``.

    Parameters
    ----------
    value
        ε. For the measure ``"all eigenvalues, relative"``: (1 − ε)K ≤ K̂ ≤ (1 + ε)K, so that every eigenvalue is
        kept to that relative error. For ``"Frobenius norm, relative to the trace"``: ‖K̂ − K‖_F ≤ ε tr K.
    measure
        Which of the two.
    theorem
        Where it comes from.
    kind
        ``"probabilistic"``: proved, or ``"empirical"``: the band of a Gaussian sketch, inside which this one stayed
        in all trials.
    confidence
        Probability over the seed.
    """

    value: float
    measure: str
    theorem: str
    kind: Kind
    confidence: float

    def __float__(self) -> float:
        return self.value

    @printable
    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.measure}; {self.kind}, with probability {self.confidence:.9g}; {self.theorem})"


@runtime_checkable
class StatesError(Protocol):
    """A sketch whose family has a theorem."""

    def error(self, n: int, *, confidence: float = 0.999) -> SketchError:
        """ε for the kernel of n feature rows."""


def subspace_error(dim: int, n: int, confidence: float, *, theorem: str, kind: Kind) -> SketchError:
    """The band of Davidson and Szarek for n rows: ε = (1 + √(n/k) + t/√k)² − 1 with t = √(2 ln(2/(1 − confidence))).

    Raises
    ------
    ValueError
        ``n`` is not positive or ``confidence`` not between 0 and 1.
    """
    _check(n, confidence)
    width = (math.sqrt(n) + math.sqrt(2 * math.log(2 / (1 - confidence)))) / math.sqrt(dim)
    return SketchError(value=(1 + width) ** 2 - 1, measure=SUBSPACE, theorem=theorem, kind=kind, confidence=confidence)


def moment_error(variance: float, n: int, confidence: float, *, theorem: str) -> SketchError:
    """Chebyshev's inequality: Var⟨Su, Sv⟩ ≤ V‖u‖²‖v‖² gives E‖K̂ − K‖_F² ≤ V(tr K)², so ε = √(V/(1 − confidence)).

    Raises
    ------
    ValueError
        ``n`` is not positive or ``confidence`` not between 0 and 1.
    """
    _check(n, confidence)
    return SketchError(
        value=math.sqrt(variance / (1 - confidence)),
        measure=FROBENIUS,
        theorem=theorem,
        kind="probabilistic",
        confidence=confidence,
    )


def _check(n: int, confidence: float) -> None:
    positive_integer("n", n, remedy="the number of feature rows")
    check_confidence(confidence)
