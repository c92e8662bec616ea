"""Ridge regression, leave-one-out and conjugate gradients."""

from property_tests.mutations.mutant import Mutant

RIDGE = "property_tests/test_ridge.py::"
STABLE = RIDGE + "test_ridge_is_backward_stable[numpy]"
REFITS = RIDGE + "test_leave_one_out_is_n_refits[numpy]"

MUTANTS = [
    Mutant(
        "dntk/solve/ridge.py",
        "gram[c, :, :] + ridge * identity",
        "gram[c, :, :] + 2 * ridge * identity",
        "λ doubled",
        STABLE,
    ),
    Mutant(
        "dntk/solve/ridge.py",
        "return weights, residual / ridge, residual / slack",
        "return weights, residual, residual / slack",
        "dual coefficients of the primal not divided by λ",
        RIDGE + "test_primal_equals_dual[numpy]",
    ),
    Mutant(
        "dntk/solve/ridge.py",
        "return weights, dual, dual / xp.sum(inverse * inverse, axis=1)",
        "return weights, dual, dual * ridge",
        "leave-one-out of the dual without its denominator",
        REFITS,
    ),
    Mutant(
        "dntk/solve/ridge.py",
        "return weights, residual / ridge, residual / slack",
        "return weights, residual / ridge, residual",
        "leave-one-out of the primal without its denominator",
        REFITS,
    ),
    Mutant(
        "dntk/solve/ridge.py",
        "weights = (features.mT @ dual[:, :, None])[:, :, 0]",
        "weights = -(features.mT @ dual[:, :, None])[:, :, 0]",
        "weights of the dual with the wrong sign",
        RIDGE + "test_features_and_their_kernel_give_the_same_fit[numpy]",
    ),
    Mutant(
        "dntk/solve/ridge.py",
        "    scores = features @ inverse.mT\n",
        "    scores = features @ inverse\n",
        "leverage scores from the transposed factor",
        REFITS,
    ),
    Mutant(
        "dntk/solve/kernel_ridge.py",
        "left_out = dual / xp.sum(inverse * inverse, axis=1)",
        "left_out = dual / xp.sum(inverse * inverse, axis=2)",
        "leave-one-out of a kernel sums over rows of the factor",
        REFITS,
    ),
    Mutant(
        "dntk/solve/kernel_ridge.py",
        "dual = (inverse.mT @ (inverse @ wide[:, :, None]))[:, :, 0]",
        "dual = (inverse @ (inverse.mT @ wide[:, :, None]))[:, :, 0]",
        "the factor of a kernel is used transposed",
        RIDGE + "test_kernel_ridge_is_backward_stable[numpy]",
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "return min(sound)[1] if sound",
        "return max(sound)[1] if sound",
        "the grid search takes the worst ridge",
        RIDGE + "test_loo_ridge_is_the_best_of_its_grid[numpy]",
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "left_out = residual / (squares @ kept[:, :, None])[:, :, 0]",
        "left_out = residual",
        "the grid is judged by training errors",
        RIDGE + "test_loo_ridge_is_the_best_of_its_grid[numpy]",
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "slack = xp.clip(1 - leverage, min=n * arrays.epsilon(values))",
        "slack = 1 + leverage",
        "the primal grid adds leverage where it should subtract it",
        RIDGE + "test_loo_ridge_is_the_best_of_its_grid[numpy]",
    ),
    Mutant(
        "dntk/solve/preconditioned_cg.py",
        "p = z + ratio[:, None] * p",
        "p = z",
        "search directions not conjugate",
        "property_tests/test_trace_bracket.py::test_conjugate_gradients_obey_chebyshev_and_never_step_back[numpy]",
    ),
    Mutant(
        "dntk/solve/preconditioned_cg.py",
        "true_residual = rhs - multiply(x)",
        "true_residual = 0 * r",
        "conjugate gradients claim to have converged",
        "property_tests/test_trace_bracket.py::test_conjugate_gradients_obey_chebyshev_and_never_step_back[numpy]",
    ),
    Mutant(
        "dntk/solve/preconditioned_cg.py",
        "gain = (self.values[:, -1:] + self.ridge) / (self.values + self.ridge) - 1",
        "gain = (self.values + self.ridge) / (self.values[:, -1:] + self.ridge) - 1",
        "the preconditioner is inverted",
        "property_tests/test_trace_bracket.py::test_conjugate_gradients_obey_chebyshev_and_never_step_back[numpy]",
    ),
]
