"""The certificate of a fit: of what was made of the features, with what the stages before them lost."""

import dataclasses

from jaxtyping import Float

from dntk.certificates import Certificate, DroppedPoints, Span, certify, with_unsketched
from dntk.certificates.certificate import StageError
from dntk.certificates.compose import with_weights
from dntk.certificates.dropped import with_dropped
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator.losses import Losses
from dntk.estimator.once import Once
from dntk.features import TangentFeatures
from dntk.ledger import LedgerRecorder
from dntk.types import Array

CONFIDENCE = 0.999
"""With which all statements of a fit's certificate hold together. Of the rest, bounds set against the features may
take half, and the sketch and the sample of points that were not kept a quarter each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the certificate of a fit is made from: the features, what replaced them, and a sample of other points.

    Parameters
    ----------
    phi, grads
        Features of the kept points, and the synthetic gradients; None where gradients were not distilled.
    weights, targets, ridge
        The regression, and what was stored of its solution.
    span
        What was kept, and the predictor in it.
    dropped
        A sample of the points that were not kept, if there are any.
    losses, tolerance
        What every stage lost, and whether a tolerance was met.
    seed
        Of the random starts of the certificate.
    rows_of
        Number of points whose rows ``phi`` are, where all outputs were one regression.
    """

    phi: TangentFeatures
    grads: DistilledGradients | None
    weights: Float[Array, "c k"]
    targets: Float[Array, "m c"]
    ridge: float
    span: Once[Span]
    dropped: DroppedPoints | None
    losses: Losses
    tolerance: ToleranceOutcome | None
    seed: int
    rows_of: int | None = None

    def certificate(self) -> Certificate:
        """All statements; a Jacobian of the sampled points, and the operations of :func:`dntk.certify`."""
        recorder = LedgerRecorder()
        with recorder.stage("certificate"):
            found = self._with_dropped(self._of_features())
        stages = (*earlier_stages(self.losses), *(stage for stage in found.stages if stage.stage != "sketch"))
        cost = recorder.ledger()["certificate"]
        found = dataclasses.replace(found, stages=stages, confidence=CONFIDENCE, tolerance=self.tolerance, cost=cost)
        return dataclasses.replace(found, rows_of=self.rows_of)

    def _of_features(self) -> Certificate:
        """What was made of the features, against the features."""
        phi, failure = self.phi, 1 - CONFIDENCE
        if self.grads is None:
            found = certify(phi, phi, confidence=1 - failure / 2, seed=self.seed)
            found = with_weights(found, phi, self.weights, self.targets, self.ridge)
        else:
            found = certify(phi, self.grads, self.targets, self.ridge, 1 - failure / 2, seed=self.seed)
        return with_unsketched(found, phi, confidence=1 - failure / 4)

    def _with_dropped(self, found: Certificate) -> Certificate:
        confidence = 1 - (1 - CONFIDENCE) / 4
        return with_dropped(found, self.dropped, self.span().basis, self.phi.sketch, confidence=confidence)


def earlier_stages(losses: Losses) -> tuple[StageError, StageError]:
    """What was lost before there were features: measured or expected, and part of no bound set against them.

    What theorems say of it stands in the certificate's statements on dropped points and on the unsketched kernel.
    """
    return (
        StageError(
            stage="data",
            error=losses.data_trace_residual,
            measure="of the selecting kernel's trace",
            theorem="Nyström trace residual, computed",
            kind="measured",
        ),
        StageError(
            stage="sketch",
            error=losses.sketch_relative_error,
            measure="of the kernel's Frobenius norm, expected",
            theorem="second moment of the sketch",
            kind="expected",
        ),
    )
