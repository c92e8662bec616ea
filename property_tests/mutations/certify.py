"""Certificates: intervals, errors of kernels, and bounds on predictions."""

from property_tests.mutations.mutant import Mutant

TESTS = "property_tests/test_certificates.py::"
KERNEL = TESTS + "test_errors_of_the_kernel_are_bounded_and_what_no_span_avoids_is_told_apart[numpy]"
EIGENVALUES = TESTS + "test_leading_eigenvalues_are_in_their_intervals[numpy]"
SPAN = TESTS + "test_span_is_orthonormal_and_holds_what_was_kept[numpy]"
REGRESSION = TESTS + "test_regressions_and_predictions_anywhere_are_within_their_bounds[numpy]"
USED = TESTS + "test_certificate_is_of_the_very_predictor_that_is_used[numpy]"

_EIGENVALUES = [
    Mutant(
        "dntk/certificates/eigenvalues.py",
        "upper = ritz + missing",
        "upper = ritz",
        "Ritz values pass for upper bounds",
        EIGENVALUES,
    ),
    Mutant(
        "dntk/certificates/eigenvalues.py",
        "rest * eye if",
        "0 * eye if",
        "Lehmann's bound takes the rest of the kernel for zero",
        EIGENVALUES,
    ),
    Mutant(
        "dntk/certificates/eigenvalues.py",
        "_, factor = xp.linalg.qr(residual)",
        "_, factor = xp.linalg.qr(0 * residual)",
        "Lehmann's bound forgets the residual",
        EIGENVALUES,
    ),
    Mutant(
        "dntk/certificates/compose.py",
        "upper=intervals.upper * area",
        "upper=intervals.upper * scale",
        "upper ends of eigenvalues are in the wrong unit",
        EIGENVALUES,
    ),
    Mutant(
        "dntk/certificates/eigenvalues.py",
        "residual = image - basis @ quotient",
        "residual = image - basis @ (basis.mT @ image) * 2",
        "the residual of the subspace is wrong, and intervals are wide",
        "tests/test_certify.py::test_intervals_hold_eigenvalues_that_the_subspace_misses_and_ten_are_narrow[numpy-gradients]",
    ),
]

_KERNELS = [
    Mutant(
        "dntk/certificates/estimators.py",
        "value = (theta + rounding) / (1 - epsilon)",
        "value = (theta + rounding)",
        "a Ritz value passes for the spectral norm",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/estimators.py",
        "math.sqrt(mean / c)",
        "math.sqrt(mean)",
        "an estimate of the Frobenius norm passes for a bound",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "max(0.0, trace - projected)",
        "max(0.0, projected - trace)",
        "the trace residual has the wrong sign",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "math.sqrt(float(spectral) * float(trace))",
        "float(spectral)",
        "the Frobenius norm is bounded by the spectral one",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "math.sqrt(float(squared))",
        "float(squared)",
        "the norm of a square is not rooted",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "leading = lehmann(quotient, residual, left)",
        "leading = lehmann(quotient, residual, 0 * left)",
        "the tail's lower end takes the rest of the kernel for zero",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "upper = float(xp.sum(left)) / c + slack",
        "upper = float(xp.sum(left)) / (2 * c) + slack",
        "the tail's upper end is halved",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "float(trace) - float(tail.lower[0])",
        "float(trace) - float(tail.upper[0])",
        "the misalignment gap is taken from the tail's upper end",
        KERNEL,
    ),
    Mutant(
        "dntk/certificates/products.py",
        "inner - (inner @ own.mT) @ own",
        "(inner @ own.mT) @ own",
        "the norm is that of what was kept, not of what was lost",
        KERNEL,
    ),
]

_REGRESSIONS = [
    Mutant(
        "dntk/certificates/regression.py",
        "_, upper = spaces.quadratures(self.ridge, 2",
        "upper, _ = spaces.quadratures(self.ridge, 2",
        "Gauss' lower bound passes for Radau's upper one",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "np.maximum(problem.ridge * (length - gauss), squares)",
        "squares",
        "the excess objective leaves out the penalty",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "** 2 * (problem.trace + problem.ridge)",
        "** 2 * 0",
        "fits of other features have no excess objective",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "np.max(np.sqrt(squares) + self.error, axis=1)",
        "np.min(np.sqrt(squares) + self.error, axis=1)",
        "only the better of two predictors is covered",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "/ math.sqrt(self.points) * grow",
        "/ self.points * grow",
        "a sum of squares is divided by n twice",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/quadrature.py",
        "np.append(a, node + delta)",
        "np.append(a, node + 4 * delta)",
        "Radau's node is inside the spectrum",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/quadrature.py",
        "for _ in range(2):",
        "for _ in range(0):",
        "Lanczos vectors are not orthogonal",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/prediction.py",
        "rest = xp.sum((psi - (along * gain[:, None, :]) @ b) ** 2, axis=2)",
        "rest = xp.sum((along * (1 - gain[:, None, :])) ** 2, axis=2)",
        "the variance leaves out what is outside the span",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/prediction.py",
        "(xp.sqrt(rest + ridge * dual) + width)",
        "(xp.sqrt(rest) + width)",
        "the power function counts what is outside the span alone",
        "property_tests/test_certificates_prediction.py::test_a_whole_basis_gives_the_posterior_variance_itself[numpy]",
    ),
    Mutant(
        "dntk/certificates/prediction.py",
        "if xp.finfo(wide).bits < 64:",
        "width = 1e-3 * xp.sqrt(prior)\n    found = (xp.sqrt(rest + ridge * dual) + width) ** 2\n    if False:",
        "deviations lose half the digits of the features",
        "tests/test_fit.py::TestWhatItSays::test_uncertainty_of_kept_points_has_the_digits_of_float32_features",
    ),
    Mutant(
        "dntk/certificates/certificate.py",
        "better = rest.value + found + slack",
        "better = rest.value + slack",
        "the distance of the predictors from the reference's solution is left out",
        "tests/test_certify.py::test_bounds_at_points_are_the_distances_where_the_reference_can_be_solved",
    ),
    Mutant(
        "dntk/certificates/compose.py",
        "w) - solved.weights / scale",
        "w) - solved.weights",
        "the reference's solution is left in the units of the scaled features",
        "tests/test_certify.py::test_bounds_at_points_are_the_distances_where_the_reference_can_be_solved",
    ),
    Mutant(
        "dntk/certificates/reference_weights.py",
        "        weights = weights - step\n",
        "        weights = weights + step\n",
        "the reference's solution is not refined but spoilt",
        "tests/test_certify.py::test_bounds_at_points_are_the_distances_where_the_reference_can_be_solved",
    ),
    Mutant(
        "dntk/certificates/reference_weights.py",
        "if min(values.shape[1:]) > LARGEST or isinstance(values, StoredWidened):",
        "if True:",
        "the reference is never solved anew: bounds at points are hundreds of times the distance",
        "tests/test_certify.py::test_bounds_at_points_are_the_distances_where_the_reference_can_be_solved"
        "[40-gradients]",
    ),
    Mutant(
        "dntk/certificates/reference_weights.py",
        "xp.max(misfit + left, axis=1)",
        "xp.min(misfit + left, axis=1)",
        "of two predictors the better one is certified",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/reference_weights.py",
        "apart = w - solved.weights[:, None, :]",
        "apart = w + solved.weights[:, None, :]",
        "distances from the solution are taken from its negative",
        "tests/test_certify.py::test_a_small_ridge_leaves_the_bound_on_predictions_tight",
    ),
    Mutant(
        "dntk/certificates/prediction.py",
        "xp.sqrt(variance / ridge)",
        "xp.sqrt(variance)",
        "pointwise bounds are not divided by the ridge",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/compose.py",
        "ridge=regression.ridge / scale**2",
        "ridge=regression.ridge / scale",
        "the ridge is in the wrong unit",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/compose.py",
        "_wide(w) * scale",
        "_wide(w)",
        "weights are in the wrong unit",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/approximation.py",
        "weights = (better, solve_ridge(grads, own, ridge=regression.ridge).weights)",
        "weights = (better,)",
        "the Galerkin predictor is not covered",
        REGRESSION,
    ),
    Mutant(
        "dntk/certificates/approximation.py",
        "own = _other_targets(reference, grads, regression.targets)",
        "own = regression.targets",
        "another predictor is certified than the one that is used",
        USED,
    ),
]

_SPANS = [
    Mutant(
        "dntk/certificates/approximation.py",
        "(singular * scale) ** 2",
        "singular**2",
        "squared singular values are in the wrong unit",
        SPAN,
    ),
    Mutant(
        "dntk/certificates/approximation.py",
        "for _ in range(2):",
        "for _ in range(0):",
        "a basis in float32 passes for orthonormal in float64",
        SPAN,
    ),
]

MUTANTS = [*_EIGENVALUES, *_KERNELS, *_REGRESSIONS, *_SPANS]
