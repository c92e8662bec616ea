"""What a certificate will cost."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.certificates import FittedPredictor, Span
from dntk.certificates import certify as make_certificate
from dntk.certificates.approximation import OtherFeatures, as_approximation, regression_on
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures, require_features
from dntk.ledger import StageCost
from dntk.plan._measure import grown, per_output
from dntk.plan._standin import POINTS, outputs_of
from dntk.plan._value import Plan, PlannedStage
from dntk.types import Array

_WIDE = 8
"""Bytes of a number in float64."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """A span with a predictor, as a fit has it."""

    span: Span
    ridge: float
    sketch: Any = None


def certify(
    reference: TangentFeatures,
    approximation: Any,
    targets: Float[Array, "n c"] | None = None,
    ridge: Any = None,
    confidence: float = 0.999,
    *,
    products: int = 40,
    seed: int = 0,
) -> Plan:
    """What :func:`dntk.certify` with these arguments will cost.

    Of more than two outputs, one and two are certified, of more than 512 points three smaller numbers of them; the rest
    is extrapolated. A fit's own certificate stands in its plan.

    Parameters
    ----------
    reference, approximation, targets, ridge, confidence, products, seed
        As for :func:`dntk.certify`.

    Raises
    ------
    TypeError, ValueError
        As that raises them of these arguments.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Principal(3).distill(phi, y)
    >>> plan = dntk.plan.certify(phi, grads, ridge=1.0)
    >>> print(plan)
    plan of a certificate of 40 points, made in ... s
    stage        forward  backward  rows     GFLOP  MiB kept  ...  seconds  from
    certificate        0         0     0  ...  2 of 2 outputs, 40 of 40 points measured
    """
    require_features("reference", reference)
    found = as_approximation(reference, approximation, None)
    asked = targets is not None or isinstance(approximation, DistilledGradients)
    if targets is not None:
        regression_on(reference, approximation, targets, 1.0)
    xp, (c, n, k) = arrays.namespace(reference.values), reference.values.shape
    known = ridge is None and isinstance(approximation, DistilledGradients | FittedPredictor)
    small = 1e-3 * float(xp.sum(reference.values[:1, :POINTS, :] ** 2)) / min(n, POINTS) + 1e-30

    def scene(outputs: int, share: float) -> Callable[[], object]:
        points = min(n, max(2, round(share * n)))
        phi = TangentFeatures(reference.values[:outputs, :points, :])
        part = _part(found, outputs, points, small, asked=asked)
        y = phi.values[:, :, 0].T if asked else None
        return lambda: make_certificate(
            phi, part, y, small if known else ridge, confidence, products=products, seed=seed
        )

    def cost(outputs: int) -> StageCost:
        return grown(lambda share: scene(outputs, share), min(1.0, POINTS / n))

    measured = outputs_of(c, n, k)
    with task("plan") as running:
        total = dataclasses.replace(per_output(cost, c, measured), stage="certificate")
        seconds = running.event().seconds
    basis = f"{measured} of {c} outputs, {min(n, POINTS):,} of {n:,} points measured"
    stage = PlannedStage(cost=total, memory=_WIDE * c * n * (k + products), basis=basis)
    return Plan(call=f"a certificate of {n:,} points", stages=(stage,), seconds=seconds)


def _part(found: Span | OtherFeatures, outputs: int, points: int, ridge: float, *, asked: bool) -> Any:
    """What is certified, for some outputs and points."""
    if isinstance(found, OtherFeatures):
        return TangentFeatures(found.values[:outputs, :points, :])
    basis = found.basis[:outputs, ...]
    weights = (basis[:, 0, :],) if asked else ()
    return _Part(dataclasses.replace(found, basis=basis, squares=found.squares[:outputs, ...], weights=weights), ridge)
