"""Certificates: what an approximation of a kernel lost, and the theorems that they rest on, each to be used alone."""

from dntk.bounds import Bound, Intervals, Kind
from dntk.certificates.alarm import Threshold, threshold
from dntk.certificates.approximation import FittedPredictor, Span
from dntk.certificates.certificate import Certificate, StageError
from dntk.certificates.compose import certified_trace_loss, certify
from dntk.certificates.dropped import DroppedPoints, sampled_mean, tangent_residual
from dntk.certificates.eigenvalues import distilled_eigenvalues, eigenvalues_from_trace, leading_eigenvalues
from dntk.certificates.estimators import (
    TraceEstimate,
    frobenius_norm,
    gaussian_probes,
    hutch_plus_plus,
    semidefinite_norm,
    spectral_norm,
    xtrace,
)
from dntk.certificates.kernel_errors import eigenvalues_above, frobenius_residual, trace_residual
from dntk.certificates.perturbation import (
    all_angles,
    eigenvalues_near,
    largest_angle,
    spectrum_distance,
    total_distance,
)
from dntk.certificates.prediction import pointwise, posterior_variance
from dntk.certificates.regression import energy_error, excess_objective, in_sample_error
from dntk.certificates.sketch import exact_eigenvalues, sketch_gains, sketched_singular_values, with_unsketched
from dntk.certificates.span_regression import SpanCertificate, span_certificate

__all__ = [
    "Bound",
    "Certificate",
    "DroppedPoints",
    "FittedPredictor",
    "Intervals",
    "Kind",
    "Span",
    "SpanCertificate",
    "StageError",
    "Threshold",
    "TraceEstimate",
    "all_angles",
    "certified_trace_loss",
    "certify",
    "distilled_eigenvalues",
    "eigenvalues_above",
    "eigenvalues_from_trace",
    "eigenvalues_near",
    "energy_error",
    "exact_eigenvalues",
    "excess_objective",
    "frobenius_norm",
    "frobenius_residual",
    "gaussian_probes",
    "hutch_plus_plus",
    "in_sample_error",
    "largest_angle",
    "leading_eigenvalues",
    "pointwise",
    "posterior_variance",
    "sampled_mean",
    "semidefinite_norm",
    "sketch_gains",
    "sketched_singular_values",
    "span_certificate",
    "spectral_norm",
    "spectrum_distance",
    "tangent_residual",
    "threshold",
    "total_distance",
    "trace_residual",
    "with_unsketched",
    "xtrace",
]
