"""Certificates: what an approximation of a kernel lost, by theorems that are each in a file of their own."""

from dntk.bounds import Bound, Intervals
from dntk.certificates.approximation import Span, span_of
from dntk.certificates.certificate import Certificate, StageError
from dntk.certificates.compose import certified_trace_loss, certify
from dntk.certificates.held_out import HeldOut, tangent_residual, with_held_out
from dntk.certificates.prediction import posterior_variance
from dntk.certificates.unsketched import with_unsketched

__all__ = [
    "Bound",
    "Certificate",
    "HeldOut",
    "Intervals",
    "Span",
    "StageError",
    "certified_trace_loss",
    "certify",
    "posterior_variance",
    "span_of",
    "tangent_residual",
    "with_held_out",
    "with_unsketched",
]
