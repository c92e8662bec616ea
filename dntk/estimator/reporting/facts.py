"""What a page tells: plain values, of a fit in memory or of a run that was written down."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.estimator.losses import Losses
from dntk.ledger import Ledger, StageCost


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability:
    """Bins of (points, mean probability, share right), and what they come to."""

    bins: tuple[tuple[int, float, float], ...]
    calibration_error: float
    negative_log_likelihood: float
    link: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unseen:
    """What was measured on points that were held out; None for what was not.

    Parameters
    ----------
    points, fidelity, accuracy, network_accuracy
        How many, and shares of them: where predictor and network agree, where each is right.
    distance
        Root mean square of prediction less network's output, over that of the network's outputs.
    curve
        Pairs of directions and fidelity.
    trust
        Number of points by tangent residual, in bins of equal width of [0, 1]; with the mean and the largest.
    reliability
        Of class probabilities.
    """

    points: int
    fidelity: float
    accuracy: float | None = None
    network_accuracy: float | None = None
    distance: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    trust: tuple[int, ...] = ()
    mean_trust: float | None = None
    worst_trust: float | None = None
    reliability: Reliability | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Influence:
    """What one prediction is made of: points of the fit, the largest contribution first.

    ``query`` is the position among the held-out points, ``predicted`` and ``network`` are classes, ``output`` is the
    prediction for the first, ``picture`` the address of a picture where inputs are images.
    """

    query: int
    predicted: int
    network: int
    output: float
    trust: float
    points: tuple["InfluentialPoint", ...]
    picture: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InfluentialPoint:
    """A point of the fit, its class, h_i(x)·y_i and f(x) − f₋ᵢ(x)."""

    position: int
    label: int
    contribution: float
    change: float
    picture: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a page says.

    Parameters
    ----------
    title
        Of the page.
    outputs, parameters
        C and P.
    losses, ledger, ridge, spectrum, choices, tolerance
        As the :class:`dntk.Fit` has them.
    certificate
        In plain values; None where there is none, and ``uncertified`` says why and what would make one.
    exact
        Foreseen cost of the exact kernel, from a plan.
    unseen, coverage, influence, pictures
        What was measured or made for the page; empty where it was not. ``pictures`` are pairs of caption and address.
    missing
        By section, the call that would give what it lacks.
    provenance
        Rows of what and value.
    classes
        Names of classes; numbers where there are none.
    """

    title: str
    outputs: int
    parameters: int
    losses: Losses
    ledger: Ledger
    ridge: float
    spectrum: tuple[float, ...]
    choices: tuple[str, ...] = ()
    tolerance: ToleranceOutcome | None = None
    certificate: Mapping[str, Any] | None = None
    uncertified: tuple[str, str] = ("", "")
    exact: StageCost | None = None
    unseen: Unseen | None = None
    coverage: tuple[float, ...] = ()
    influence: tuple[Influence, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()
    missing: Mapping[str, str] = dataclasses.field(default_factory=dict)
    provenance: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()

    def name_of(self, label: int) -> str:
        """A class in words."""
        return self.classes[label] if self.classes else str(label)

    @property
    def verdict(self) -> str:
        """What came out, in one sentence."""
        kept = None if self.unseen is None else (self.unseen.fidelity, self.unseen.points)
        return verdict_of(self.losses, self.ledger, outputs=self.outputs, kept=kept, tolerance=self.tolerance)


def verdict_of(
    losses: Losses,
    ledger: Ledger,
    *,
    outputs: int,
    kept: tuple[float, int] | None,
    tolerance: ToleranceOutcome | None,
) -> str:
    """What came out, in one sentence; ``kept`` is a fidelity and on how many held-out points it was measured."""
    total = ledger.total()
    said = (
        f"{losses.points:,} points → {losses.kept_points:,} → {losses.gradients:,} gradients per output: "
        f"{total.jacobian_rows:,} Jacobian rows where the exact kernels take {losses.points * outputs:,}"
    )
    if kept is not None:
        said += f"; {kept[0]:.1%} of the network's classes kept on {kept[1]:,} others"
    else:
        said += f"; {losses.fidelity:.1%} of the network's classes kept in sample"
    if tolerance is not None:
        said += f"; tolerance {tolerance.tolerance:g} {'met' if tolerance.met else 'not met'}"
    return f"{said}; {total.seconds:.1f} s."
