"""Gradients distilled from one pass or from powers of the kernel, and solutions along a path."""

from property_tests.mutations.mutant import Mutant

FREQUENT = "property_tests/test_frequent_directions.py::"
ROWS = FREQUENT + "test_rows_bracket_the_gram_matrix[numpy]"
ROBUST = FREQUENT + "test_the_robust_regression_is_within_its_bound[numpy]"
KRYLOV = "tests/test_krylov_gradients.py::"
EIGEN = "dntk/spectrum/eigen.py"
RANDOMISED = "tests/test_distill_gradients.py::test_principal_finds_the_same_directions_by_randomized_iteration"

MUTANTS = [
    Mutant(
        "dntk/distill/gradients/frequent_directions.py",
        "xp.clip(kept - removed, min=0)",
        "xp.clip(kept, min=0)",
        "Frequent Directions does not shrink",
        ROWS,
    ),
    Mutant(
        "dntk/distill/gradients/frequent_directions.py",
        "removed = values[size]",
        "removed = values[size - 1]",
        "shrinking by the s-th value in place of the next",
        ROWS,
    ),
    Mutant(
        "dntk/distill/gradients/frequent_directions.py",
        "shift=self.shift + float(removed)",
        "shift=float(removed)",
        "only the last shrinking counts",
        ROWS,
    ),
    Mutant(
        "dntk/distill/gradients/frequent_directions.py",
        "shift=both.shift + other.shift",
        "shift=both.shift",
        "merging forgets what the other part has lost",
        ROWS,
    ),
    Mutant(
        "dntk/distill/gradients/frequent_directions.py",
        "rows = xp.sqrt(ratio)[:, None]",
        "rows = ratio[:, None]",
        "rows shrunk as their squares should be",
        ROWS,
    ),
    Mutant(
        "dntk/distill/gradients/streamed.py",
        "lifted = ridge + self.shift / 2",
        "lifted = ridge + self.shift",
        "regression shifted by Δ, not Δ/2",
        ROBUST,
    ),
    Mutant(
        "dntk/distill/gradients/streamed.py",
        "(xp.sqrt(xp.sum(gradient * gradient, axis=1)) + half * norm) * ridge",
        "xp.sqrt(xp.sum(gradient * gradient, axis=1)) * ridge",
        "the bound does not count the shift",
        ROBUST,
    ),
    Mutant(
        "dntk/distill/gradients/streamed.py",
        "products=self.products + other.products",
        "products=self.products",
        "merging forgets the other part's Ψᵀy",
        ROBUST,
    ),
    Mutant(
        "dntk/distill/gradients/streamed.py",
        "weights = (products - (rows.mT @ coefficients)[:, :, 0]) / lifted[:, None]",
        "weights = (products - (rows.mT @ coefficients)[:, :, 0]) / ridge",
        "what is outside the rows divided by λ alone",
        ROBUST,
    ),
    Mutant(
        "dntk/distill/gradients/streamed.py",
        "own = [self.sketches[0].shift * c] * c",
        "own = [self.sketches[0].shift] * c",
        "the shift of shared rows not scaled to an output's",
        ROWS,
    ),
    Mutant(
        "dntk/distill/gradients/streaming.py",
        "products=found.products + (y.mT",
        "products=(y.mT",
        "only the last chunk's Ψᵀy counts",
        ROBUST,
    ),
    Mutant(
        "dntk/distill/gradients/krylov.py",
        "column = left @ mixes[..., -1:]",
        "column = answers @ mixes[..., -1:]",
        "the Krylov space begins at Ky",
        "property_tests/test_gradient_distillers.py::test_krylov_energies_fall_as_chebyshev_says[numpy]",
    ),
    Mutant(
        "dntk/distill/gradients/krylov.py",
        "left = left - scores @ (scores.mT @ left)",
        "left = left - 0.5 * scores @ (scores.mT @ left)",
        "targets keep half of what the scores explain",
        KRYLOV + "test_least_squares_on_shared_krylov_gradients_is_partial_least_squares",
    ),
    Mutant(
        "dntk/distill/gradients/krylov.py",
        "_, mixes = xp.linalg.eigh(_symmetric(left.mT @ answers))",
        "_, mixes = xp.linalg.eigh(-_symmetric(left.mT @ answers))",
        "the combination that the kernel answers least",
        KRYLOV + "test_least_squares_on_shared_krylov_gradients_is_partial_least_squares",
    ),
    Mutant(
        "dntk/distill/gradients/orthonormal.py",
        "    rest = rest - basis @ (basis.mT @ rest)  # the first pass leaves rounding times the part removed\n",
        "",
        "candidates are made orthogonal once",
        "tests/test_solution_gradients.py::test_candidates_almost_in_the_span_become_orthogonal_to_it[numpy]",
    ),
    Mutant(
        "dntk/distill/gradients/orthonormal.py",
        "return candidates @ xp.flip(kept, axis=-1)[..., :size]",
        "return candidates @ kept[..., :size]",
        "the combinations of solutions that matter least are kept",
        "tests/test_solution_gradients.py::test_fewer_shared_directions_than_solutions_keep_their_principal_components",
    ),
    Mutant(
        "dntk/distill/gradients/solution.py",
        "shift = multiple * ridge",
        "shift = ridge",
        "solutions at multiples of the ridge are all at the ridge",
        "tests/test_solution_gradients.py::test_solutions_at_several_ridges_are_right_along_the_path",
    ),
    Mutant(
        EIGEN,
        "return values / c, vectors",
        "return values, vectors",
        "eigenvalues of the sum of kernels for those of the mean",
        "tests/test_distill_gradients.py::test_eigenpairs_of_the_mean_kernel_need_no_joined_features[numpy]",
    ),
    Mutant(
        "dntk/spectrum/randomized.py",
        "_PASSES = 3",
        "_PASSES = 0",
        "no power iteration",
        RANDOMISED,
    ),
    Mutant(
        "dntk/spectrum/randomized.py",
        "leading = xp.flip(vectors, axis=-1)[:, :size]",
        "leading = vectors[:, :size]",
        "randomised eigenvectors of the smallest eigenvalues",
        RANDOMISED,
    ),
]
