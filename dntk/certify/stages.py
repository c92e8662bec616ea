"""The stages of a fit in one certificate: data, sketch, gradients, solve."""

import dataclasses

from dntk.certify.certificate import Certificate, StageError
from dntk.losses import Losses


def with_earlier_stages(certificate: Certificate, losses: Losses) -> Certificate:
    """The certificate of what was made of the features, after what was lost before there were any.

    Bounds of the certificate are set against the features of the kept points. What dropping points and sketching
    cost is measured or expected, not bounded: it is listed as a stage, and enters no bound.
    """
    earlier = (
        StageError(
            stage="data",
            error=losses.data_trace_residual,
            measure="of the selecting kernel's trace",
            theorem="Nyström trace residual, computed",
        ),
        StageError(
            stage="sketch",
            error=losses.sketch_relative_error,
            measure="of the kernel's Frobenius norm, expected",
            theorem="second moment of the sketch",
            kind="probabilistic",
        ),
    )
    certified = tuple(stage for stage in certificate.stages if stage.stage != "sketch")
    return dataclasses.replace(certificate, stages=(*earlier, *certified))
