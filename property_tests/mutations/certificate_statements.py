"""What statements of a certificate spend of its confidence, draw from its seed, and allow for rounding."""

from property_tests.mutations.mutant import Mutant

STATED = "tests/test_certificate_statements.py::"
SHARED = STATED + "test_statements_of_a_certificate_fail_together_no_oftener_than_it_says"
UNSKETCHED = STATED + "test_unsketched_bounds_are_those_of_davidson_and_szarek_for_all_points_and_outputs"
SEEDED = STATED + "test_bounds_are_drawn_from_the_seed"
ITSELF = STATED + "test_errors_of_the_reference_itself_are_its_rounding"
EVERYTHING = STATED + "test_errors_of_a_span_of_everything_are_its_rounding"
EXACT = STATED + "test_distances_of_the_exact_regression_itself_are_its_rounding_by_products"
OWN_SPAN = STATED + "test_bounds_of_a_regression_in_its_own_span_are_rounding"

_CONFIDENCE = [
    Mutant(
        "dntk/certificates/compose.py",
        "failure = (1 - confidence) / 2",
        "failure = 1 - confidence",
        "norms and eigenvalues each spend the whole probability of failure",
        SHARED,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "frobenius = frobenius_norm(error(probes), confidence=1 - failure / 2)",
        "frobenius = frobenius_norm(error(probes), confidence=1 - failure)",
        "the Frobenius norm spends the spectral norm's failure too",
        SHARED + "[features]",
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "start, steps=STEPS, confidence=1 - failure / 2)",
        "start, steps=STEPS, confidence=1 - failure)",
        "the spectral norm spends the Frobenius norm's failure too",
        SHARED + "[features]",
    ),
    Mutant(
        "dntk/certificates/sketch.py",
        "failure = 1 - confidence",
        "failure = 2 * (1 - confidence)",
        "both statements without sketch spend the whole probability of failure",
        STATED + "test_statements_without_sketch_share_its_confidence_and_that_of_their_intervals",
    ),
    Mutant(
        "dntk/certificates/sketch.py",
        "error = sketch.error(len(phi) * phi.n_outputs, confidence=1 - failure / 2)",
        "error = sketch.error(len(phi) * phi.n_outputs, confidence=1 - failure)",
        "both ends without sketch spend the whole probability of failure",
        STATED + "test_statements_without_sketch_share_its_confidence_and_that_of_their_intervals",
    ),
    Mutant(
        "dntk/certificates/sketch.py",
        "confidence=high.confidence + ends.confidence - 1,",
        "confidence=high.confidence,",
        "the intervals under the sketch are taken never to fail",
        STATED + "test_statements_without_sketch_share_its_confidence_and_that_of_their_intervals",
    ),
    Mutant(
        "dntk/certificates/sketch.py",
        "value=float(sketched) / (1 - width) ** 2",
        "value=float(sketched) / (1 - width)",
        "1 − w is not squared",
        UNSKETCHED,
    ),
    Mutant(
        "dntk/certificates/sketch.py",
        "error = sketch.error(len(phi), confidence=1 - failure / phi.n_outputs)",
        "error = sketch.error(len(phi), confidence=1 - failure)",
        "one output's embedding is taken for all",
        UNSKETCHED,
    ),
    Mutant(
        "dntk/certificates/sketch.py",
        "error = sketch.error(len(phi), confidence=1 - failure / phi.n_outputs)",
        "error = sketch.error(1, confidence=1 - failure / phi.n_outputs)",
        "gradients of one point are taken for those of all",
        UNSKETCHED,
    ),
    Mutant(
        "dntk/certificates/sketch.py",
        "error = sketch.error(len(phi) * phi.n_outputs, confidence=1 - failure / 2)",
        "error = sketch.error(len(phi), confidence=1 - failure / 2)",
        "eigenvalues of mean kernels embed the gradients of one output",
        UNSKETCHED,
    ),
]

_SEEDS = [
    Mutant(
        "dntk/certificates/compose.py",
        "errors = span_errors(values, span, failure=failure, seed=seed)",
        "errors = span_errors(values, span, failure=failure, seed=0)",
        "norms of projections ignore the seed",
        SEEDED + "[gradients]",
    ),
    Mutant(
        "dntk/certificates/compose.py",
        "errors = feature_errors(values, other, failure=failure, seed=seed)",
        "errors = feature_errors(values, other, failure=failure, seed=0)",
        "norms of other features ignore the seed",
        SEEDED + "[features]",
    ),
    Mutant(
        "dntk/certificates/compose.py",
        "suggested_start(start, LEADING, seed=seed)",
        "suggested_start(start, LEADING, seed=0)",
        "the subspace of leading eigenvalues ignores the seed",
        SEEDED + "[gradients]",
    ),
    Mutant(
        "dntk/certificates/compose.py",
        "eigenvalue_intervals(values, block, failure=failure, seed=seed)",
        "eigenvalue_intervals(values, block, failure=failure, seed=0)",
        "the rest of the kernel ignores the seed",
        STATED + "test_the_rest_of_the_kernel_is_bounded_from_the_seed",
    ),
    Mutant(
        "dntk/certificates/dropped.py",
        "uniforms(seed=seed, stream",
        "uniforms(seed=0, stream",
        "the sample of dropped points ignores the seed",
        STATED + "test_points_that_were_not_kept_are_drawn_from_the_seed",
    ),
    Mutant(
        "dntk/certificates/alarm.py",
        "ordered[n - 1 - allowed]",
        "ordered[n - 2 - allowed]",
        "one held-out point more lies above a threshold than its confidence allows",
        "tests/test_alarm.py::test_as_many_points_lie_above_as_the_binomial_allows[0.95-200]",
    ),
    Mutant(
        "dntk/certificates/alarm.py",
        "return scores > self.value",
        "return scores >= self.value",
        "scores at the threshold raise the alarm, however many there are",
        "tests/test_alarm.py::test_equal_scores_raise_no_alarm",
    ),
    Mutant(
        "dntk/certificates/dropped.py",
        "share * total * largest[0, :, 0] ** 2",
        "share * total * largest[0, :, 0]",
        "the residual that is not normalised is not in the kernel's units",
        "tests/test_alarm.py::test_the_residual_that_is_not_normalised_is_the_length_outside_the_span[numpy]",
    ),
]

_ROUNDING = [
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "value=math.sqrt(float(squared)) + slack",
        "value=math.sqrt(float(squared))",
        "the spectral error has no allowance for rounding",
        ITSELF,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "value=float(frobenius) + slack",
        "value=float(frobenius)",
        "the Frobenius error has no allowance for rounding",
        ITSELF,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "value=abs(traces[0] - traces[1]) + slack",
        "value=abs(traces[0] - traces[1])",
        "the difference of traces has no allowance for rounding",
        ITSELF,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        'max(0.0, trace - projected) + allowance("trace residual", eps, size, trace)',
        "max(0.0, trace - projected)",
        "the trace residual has no allowance for rounding",
        EVERYTHING,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "upper = float(xp.sum(left)) / c + slack",
        "upper = float(xp.sum(left)) / c",
        "the tail has no allowance for rounding",
        EVERYTHING,
    ),
    Mutant(
        "dntk/certificates/kernel_errors.py",
        "confidence=1 - failure, rounding=rounding)",
        "confidence=1 - failure)",
        "Lanczos has no allowance for rounding",
        STATED + "test_norms_in_the_whole_space_are_rounded_upwards",
    ),
    Mutant(
        "dntk/certificates/eigenvalues.py",
        "lower=xp.clip(ritz - slack, min=0)",
        "lower=xp.clip(ritz, min=0)",
        "Ritz values have no allowance for rounding",
        STATED + "test_eigenvalues_that_are_known_exactly_are_rounded_both_ways",
    ),
    Mutant(
        "dntk/certificates/eigenvalues.py",
        "upper=upper + slack",
        "upper=upper",
        "Lehmann's bound has no allowance for rounding",
        STATED + "test_eigenvalues_that_are_known_exactly_are_rounded_both_ways",
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "np.sqrt(squares) + self.error",
        "np.sqrt(squares)",
        "distances of predictions have no allowance for rounding",
        EXACT,
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "np.sqrt(energy) + problem.error * math.sqrt(1 + problem.trace / problem.ridge)",
        "np.sqrt(energy)",
        "excess objectives have no allowance for rounding",
        EXACT + "[gradients]",
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "np.sqrt(energy) + problem.error / math.sqrt(problem.ridge)",
        "np.sqrt(energy)",
        "excess objectives of fits have no allowance for rounding",
        EXACT + "[features]",
    ),
    Mutant(
        "dntk/certificates/regression.py",
        "min=0) + slack * scale",
        "min=0)",
        "duality gaps have no allowance for rounding",
        OWN_SPAN,
    ),
    Mutant(
        "dntk/certificates/prediction.py",
        "width = _rounding(stored, psi, squares, ridge) * xp.sqrt(prior)",
        "width = 0 * xp.sqrt(prior)",
        "variances have no allowance for rounding",
        STATED + "test_the_variance_of_what_is_known_is_its_rounding",
    ),
    Mutant(
        "dntk/certificates/dropped.py",
        "confidence=confidence, rounding=rounding, what",
        "confidence=confidence, what",
        "the interval of dropped points has no allowance for rounding",
        STATED + "test_a_residual_of_points_in_the_span_is_rounding",
    ),
    Mutant(
        "dntk/certificates/span_regression.py",
        "value=xp.sqrt(energy) + rounding * ridge**-0.5",
        "value=xp.sqrt(energy)",
        "the energy of a distilled regression has no allowance for rounding",
        OWN_SPAN,
    ),
    Mutant(
        "dntk/distill/gradients/streamed.py",
        "return energy + unit * size * ridge**-0.5 + stored",
        "return energy + stored",
        "the energy of a streamed regression has no allowance for rounding",
        OWN_SPAN,
    ),
    Mutant(
        "dntk/certificates/widened.py",
        "Widened(arrays.in_float64(values) if small else values, scale)",
        "Widened(arrays.namespace(values).astype(values / scale, values.dtype) * scale, scale)",
        "features in float32 are certified in float32",
        STATED + "test_features_of_lower_precision_are_certified_in_the_higher",
    ),
    Mutant(
        "dntk/solve/problem.py",
        "dtype = features.dtype if n > max(ONE_PASS_POINTS, k) else arrays.accumulation_dtype(features)",
        "dtype = features.dtype",
        "products of few points are in float32",
        "tests/test_ridge_choice.py::test_products_of_few_points_are_formed_in_float64",
    ),
]

_STAGES = [
    Mutant(
        "dntk/certificates/certificate.py",
        "return max(self.stages",
        "return min(self.stages",
        "the worst stage is the best",
        STATED + "test_the_worst_stage_is_the_one_that_lost_most",
    ),
    Mutant(
        "dntk/certificates/stage_errors.py",
        "kind=trace.kind,",
        "",
        "a stage is deterministic whatever its bound is",
        STATED + "test_stages_say_how_they_are_known",
    ),
    Mutant(
        "dntk/certificates/dropped.py",
        "ratio = 1 - inside / xp",
        "ratio = 0.5 - 0.5 * inside / xp",
        "the tangent residual is halved",
        STATED + "test_tangent_residuals_are_the_share_of_gradients_outside_the_span[numpy]",
    ),
    Mutant(
        "dntk/certificates/span_regression.py",
        "xp.sqrt(self.objective.value / self.ridge)",
        "xp.sqrt(self.objective.value)",
        "the same-span bound forgets 1/√λ",
        "tests/test_gradient_diagnostics.py::test_certificates_hold_against_the_exact_regression",
    ),
    Mutant(
        "dntk/certificates/span_regression.py",
        "max(projected.shape), 1.0)",
        "max(projected.shape), 0.0)",
        "the trace residual of a distilled regression has no allowance for rounding",
        OWN_SPAN,
    ),
]

MUTANTS = [*_CONFIDENCE, *_SEEDS, *_ROUNDING, *_STAGES]
