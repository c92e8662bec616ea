"""The stages of a fit in one certificate: data, sketch, gradients, solve."""

import dataclasses

from dntk.certificates.certificate import Certificate, StageError
from dntk.estimator.losses import Losses


def with_earlier_stages(certificate: Certificate, losses: Losses) -> Certificate:
    """The certificate of what was made of the features, after what was lost before there were any.

    Bounds of the certificate are set against the features of the kept points. What dropping points and sketching
    cost is listed as a stage, measured or expected, and enters no bound of theirs; what theorems say of it is in the
    statements of :mod:`dntk.certificates.unsketched` and :mod:`dntk.certificates.held_out`.
    """
    earlier = (
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
    certified = tuple(stage for stage in certificate.stages if stage.stage != "sketch")
    return dataclasses.replace(certificate, stages=(*earlier, *certified))
