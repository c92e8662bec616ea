"""Ridge regression, leave-one-out and conjugate gradients."""

from property_tests.mutations.mutant import Mutant

RIDGE = "property_tests/test_ridge.py::"
STABLE = RIDGE + "test_ridge_is_backward_stable[numpy]"
REFITS = RIDGE + "test_leave_one_out_is_n_refits[numpy]"
CHOICE = "tests/test_ridge_choice.py::"
ITERATIVE = "tests/test_iterative.py::"
SKETCHES = "tests/test_solved_sketches.py::test_a_fit_takes_features_of_its_own_sketch_alone"
LEFT_OUT = "tests/test_leave_one_out.py::"
SMALLER = (
    "property_tests/test_ridge_approximate.py::test_smaller_kernels_have_fewer_dimensions_and_larger_energies[numpy]"
)
CHEBYSHEV = "property_tests/test_trace_bracket.py::test_conjugate_gradients_obey_chebyshev_and_never_step_back[numpy]"

MUTANTS = [
    Mutant(
        "dntk/solve/iterative.py",
        "if worst <= max(tolerance, arrays.epsilon(fit.dual) ** 0.5):",
        "if fit.cg.iterations > 0:",
        "conjugate gradients that did not end are a solution",
        "tests/test_iterative.py::test_an_iteration_that_stops_early_says_so",
    ),
    Mutant(
        "dntk/solve/normal_equations.py",
        "return max(1, min(ROWS, ENTRIES // (features.shape[0] * features.shape[2])))",
        "return ROWS",
        "all features of a few thousand points are held in float64",
        "tests/test_peak_memory.py::test_a_regression_never_holds_all_its_features_in_float64[loo-primal]",
    ),
    Mutant(
        "dntk/solve/_kernel_ridge.py",
        "left_out = dual / xp.sum(inverse * inverse, axis=1)",
        "left_out = dual / xp.sum(inverse * inverse, axis=2)",
        "leave-one-out of a kernel sums over rows of the factor",
        REFITS,
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "smallest, best = min(sound)",
        "smallest, best = max(sound)",
        "the grid search takes the worst ridge",
        RIDGE + "test_loo_ridge_is_the_best_of_its_grid[numpy]",
    ),
    Mutant(
        "dntk/solve/_preconditioned_cg.py",
        "true_residual = rhs - multiply(x)",
        "true_residual = 0 * r",
        "conjugate gradients claim to have converged",
        CHEBYSHEV,
    ),
    Mutant(
        "dntk/solve/_preconditioned_cg.py",
        "gain = (self.values[:, -1:] + self.ridge) / (self.values + self.ridge) - 1",
        "gain = (self.values + self.ridge) / (self.values[:, -1:] + self.ridge) - 1",
        "the preconditioner is inverted",
        CHEBYSHEV,
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "left_out = residual / ((vectors * vectors) @ kept)[:, :, None, :]",
        "left_out = residual / (1 - (vectors * vectors) @ kept)[:, :, None, :]",
        "leave-one-out errors of the dual divide by the leverage",
        CHOICE + "test_leave_one_out_and_folds_are_explicit_refits[dual]",
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "xp.clip(1 - (scores * scores) @ gains, min",
        "xp.clip(1 - 0 * (scores * scores) @ gains, min",
        "leave-one-out errors of the primal are those in sample",
        CHOICE + "test_leave_one_out_and_folds_are_explicit_refits[primal]",
    ),
    Mutant(
        "dntk/solve/solution.py",
        "left_out = dual / xp.sum(inverse * inverse, axis=1)[:, :, None]",
        "left_out = dual / xp.sum(inverse * inverse, axis=2)[:, :, None]",
        "leave-one-out of the dual sums over rows of the factor",
        REFITS,
    ),
    Mutant(
        "dntk/solve/solution.py",
        "xp.clip(1 - xp.sum(scores * scores, axis=2), min",
        "xp.clip(1 - xp.max(scores * scores, axis=2), min",
        "leverages of the primal by their largest term",
        REFITS,
    ),
    Mutant(
        "dntk/solve/solution.py",
        "_mean_square, left_out, problem.weight * problem.outputs)",
        "_mean_square, left_out, problem.weight)",
        "leave-one-out errors summed over outputs",
        REFITS,
    ),
    Mutant(
        "dntk/solve/solution.py",
        "dual=residual / total",
        "dual=residual",
        "dual coefficients of the primal not divided by λ",
        RIDGE + "test_primal_equals_dual[numpy]",
    ),
    Mutant(
        "dntk/solve/solution.py",
        "if floor > _TRUSTED * ridge:",
        "if floor > 1e12 * ridge:",
        "float32 products are never refined",
        CHOICE + "test_products_in_float32_are_refined_where_the_ridge_is_below_their_rounding[numpy]",
    ),
    Mutant(
        "dntk/solve/solution.py",
        "over_rows(lambda block, _: block @ v) + ridge * v",
        "over_rows(lambda block, _: block @ v)",
        "refinement solves without the ridge",
        CHOICE + "test_products_in_float32_are_refined_where_the_ridge_is_below_their_rounding[numpy]",
    ),
    Mutant(
        "dntk/solve/conditioning.py",
        "return xp.stack(sound), added\n",
        "return xp.stack(sound), 0.0\n",
        "jitter is not reported",
        CHOICE + "test_jitter_is_added_only_when_allowed_and_is_reported",
    ),
    Mutant(
        "dntk/solve/conditioning.py",
        "added = jitter.relative * jitter.growth ** (attempt - 1) * largest",
        "added = jitter.relative * jitter.growth ** (attempt + 9) * largest",
        "jitter is as large as the matrix",
        CHOICE + "test_jitter_is_added_only_when_allowed_and_is_reported",
    ),
    Mutant(
        "dntk/solve/conditioning.py",
        "return float(xp.max(largest * inverse))",
        "return float(xp.max(largest))",
        "the norm taken for the condition number",
        CHOICE + "test_many_points_are_solved_in_one_pass_as_dense_algebra_does[numpy]",
    ),
    Mutant(
        "dntk/solve/choice.py",
        "(xp.sum(kept, axis=1) / n)[:, None, :] ** 2",
        "(xp.sum(kept, axis=1) / n)[:, None, :]",
        "GCV of the dual divides once",
        CHOICE + "test_gcv_is_its_definition[dual]",
    ),
    Mutant(
        "dntk/solve/choice.py",
        "each = [errors[i : i + 1, j : j + 1, :]",
        "each = [errors[:1, :1, :]",
        "every output gets the first one's ridge",
        CHOICE + "test_every_rule_chooses_its_best_on_every_library",
    ),
    Mutant(
        "dntk/solve/folds.py",
        "others = [s for i, s in enumerate(statistics) if i != left_out]",
        "others = list(statistics)",
        "folds of the primal are tested on what they were fitted to",
        CHOICE + "test_leave_one_out_and_folds_are_explicit_refits[primal]",
    ),
    Mutant(
        "dntk/solve/folds.py",
        "features = xp.concat([f for i, (f, _) in enumerate(parts) if i != left_out], axis=1)\n"
        "        targets = xp.concat([y for i, (_, y) in enumerate(parts) if i != left_out], axis=1)",
        "features = xp.concat([f for f, _ in parts], axis=1)\n"
        "        targets = xp.concat([y for _, y in parts], axis=1)",
        "folds of the dual are tested on what they were fitted to",
        CHOICE + "test_leave_one_out_and_folds_are_explicit_refits[dual]",
    ),
    Mutant(
        "dntk/solve/ridge_fit.py",
        "return (phi.values @ weights[:, :, None])[:, :, 0].T",
        "return (phi.values @ weights[:1, :, None])[:, :, 0].T",
        "all outputs predicted by the first one's weights",
        RIDGE + "test_features_and_their_kernel_give_the_same_fit[numpy]",
    ),
    Mutant(
        "dntk/solve/_nystrom.py",
        "return row_basis(inducing)",
        "return inducing",
        "the Nyström span is not orthonormal",
        SMALLER,
    ),
    Mutant(
        "dntk/solve/_nystrom.py",
        "triangular_solve(lower, wide[i, :, :], lower=True)",
        "triangular_solve(lower.mT, wide[i, :, :], lower=False)",
        "Nyström features by the factor's transpose, L⁻ᵀΨ_S",
        SMALLER,
    ),
    Mutant(
        "dntk/solve/_nystrom.py",
        "cholesky(gram[i, :, :] + (shift",
        "cholesky(0.99 * gram[i, :, :] + (shift",
        "Nyström kernels one percent above the kernel",
        SMALLER,
    ),
    Mutant(
        "dntk/solve/_nystrom.py",
        "fit = _ridge(reduced, targets, ridge)",
        "fit = _ridge(reduced, targets, 2 * ridge if isinstance(ridge, float) else ridge)",
        "Nyström regression at twice the ridge",
        "property_tests/test_ridge_approximate.py::test_fits_and_solutions_are_as_near_as_the_kernels[numpy]",
    ),
    Mutant(
        "dntk/solve/iterative.py",
        "residual = rhs - wide_product(kernel, solution) - ridge * solution",
        "residual = rhs - wide_product(kernel, solution)",
        "refinement's residual without the ridge",
        ITERATIVE + "test_refinement_reaches_float64_from_a_float32_iteration[numpy]",
    ),
    Mutant(
        "dntk/solve/iterative.py",
        "solution = solution + scale * xp.astype(part.solution, rhs.dtype)",
        "solution = scale * xp.astype(part.solution, rhs.dtype)",
        "a round of refinement forgets the rounds before",
        ITERATIVE + "test_refinement_reaches_float64_from_a_float32_iteration[numpy]",
    ),
    Mutant(
        "dntk/solve/_preconditioned_cg.py",
        "p = z + _ratio(active, rho, previous)[:, None, ...] * p",
        "p = z",
        "steepest descent in place of conjugate gradients",
        CHEBYSHEV,
    ),
    Mutant(
        "dntk/solve/low_rank.py",
        "Preconditioner(values=singular**2, vectors",
        "Preconditioner(values=singular, vectors",
        "singular values of the factor taken for eigenvalues",
        ITERATIVE + "test_the_rank_is_doubled_until_the_condition_is_good_enough",
    ),
    Mutant(
        "dntk/solve/low_rank.py",
        "float(xp.max(preconditioner.values[:, -1] + norm[:, 0, 0]))",
        "float(xp.max(preconditioner.values[:, -1]))",
        "the preconditioner's residual not counted in its condition",
        ITERATIVE + "test_the_rank_is_doubled_until_the_condition_is_good_enough",
    ),
    Mutant(
        "dntk/solve/low_rank.py",
        "columns = kernel.columns(points) - built @ xp.take(built, points, axis=1).mT",
        "columns = kernel.columns(points)",
        "pivots of the preconditioner are not those of the residual",
        ITERATIVE + "test_the_rank_is_doubled_until_the_condition_is_good_enough",
    ),
    Mutant(
        "dntk/solve/_ridge.py",
        "        sketch=features.sketch,\n",
        "        sketch=None,\n",
        "the sketch is forgotten after a solve",
        SKETCHES + "[primal]",
    ),
    Mutant(
        "dntk/solve/_ridge.py",
        "own = TangentFeatures(grads.values, grads.sketch)",
        "own = TangentFeatures(grads.values, None)",
        "the sketch of synthetic gradients is forgotten after a solve",
        SKETCHES + "[synthetic gradients]",
    ),
    Mutant(
        "dntk/solve/_same_span.py",
        "weights=weights, sketch=grads.sketch)",
        "weights=weights)",
        "the sketch is forgotten after a same-span solve",
        SKETCHES + "[same span]",
    ),
    Mutant(
        "dntk/solve/_nystrom.py",
        "weights=weights, sketch=features.sketch)",
        "weights=weights)",
        "the sketch is forgotten after a Nyström solve",
        SKETCHES + "[nystrom]",
    ),
    Mutant(
        "dntk/distill/gradients/streamed.py",
        "            sketch=self.like.sketch,\n",
        "",
        "the sketch is forgotten after a streamed solve",
        SKETCHES + "[streamed]",
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        " if ridge >= floor]",
        "]",
        "ridges below the rounding of the kernel compete",
        LEFT_OUT + "test_ridges_below_rounding_do_not_compete",
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "floor = n * arrays.epsilon(values) * float(xp.max(values))",
        "floor = n * arrays.epsilon(values)",
        "the rounding of a kernel of any size is that of one of size 1",
        LEFT_OUT + "test_the_rounding_of_a_kernel_is_in_units_of_its_largest_eigenvalue",
    ),
    Mutant(
        "dntk/solve/_checked_pair.py",
        "values[0, :, :] if values.shape[0] == 1 else values, chunk[1]",
        "values[0, :, :], chunk[1]",
        "statistics of the first output stand for all",
        "tests/test_normal_equations.py::test_tangent_features_are_added_up_as_their_arrays",
    ),
]
