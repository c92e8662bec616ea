"""Ridge regression, leave-one-out and conjugate gradients."""

from property_tests.mutations.mutant import Mutant

RIDGE = "property_tests/test_ridge.py::"
STABLE = RIDGE + "test_ridge_is_backward_stable[numpy]"
REFITS = RIDGE + "test_leave_one_out_is_n_refits[numpy]"

MUTANTS = [
    Mutant(
        "dntk/solve/kernel_ridge.py",
        "left_out = dual / xp.sum(inverse * inverse, axis=1)",
        "left_out = dual / xp.sum(inverse * inverse, axis=2)",
        "leave-one-out of a kernel sums over rows of the factor",
        REFITS,
    ),
    Mutant(
        "dntk/solve/leave_one_out.py",
        "return min(sound)[1] if sound",
        "return max(sound)[1] if sound",
        "the grid search takes the worst ridge",
        RIDGE + "test_loo_ridge_is_the_best_of_its_grid[numpy]",
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
