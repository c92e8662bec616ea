"""Synthetic gradients: orthonormality, values, residuals, and the distillers."""

from property_tests.mutations.mutant import Mutant

BRACKET = "property_tests/test_trace_bracket.py::"
GALERKIN = "property_tests/test_galerkin.py::"
INTERLACING = "property_tests/test_interlacing.py::"
LOCAL = "property_tests/test_local_global.py::"
DISTIL = "dntk/distilled_gradients.py"
CLUSTERING = "dntk/distill/gradients/_clustering.py"
CLUSTERS = "tests/test_clustering.py::"
REPORTS = "tests/test_local_global.py::"

MUTANTS = [
    Mutant(
        DISTIL,
        "if not defect <= 32 * points * arrays.epsilon(u):",
        "if not defect <= 32:",
        "directions that are not orthonormal are let through",
        INTERLACING + "test_unit_norm_alone_does_not_interlace_and_is_refused",
    ),
    Mutant(
        DISTIL,
        "defect = float(xp.max(xp.abs(u.mT @ u - xp.eye(s, dtype=u.dtype, device=arrays.device_of(u)))))",
        "defect = float(xp.max(xp.abs(xp.linalg.diagonal(u.mT @ u) - 1)))",
        "directions are checked for unit norm only",
        INTERLACING + "test_unit_norm_alone_does_not_interlace_and_is_refused",
    ),
    Mutant(
        DISTIL,
        "    values = u.mT @ phi.values\n",
        "    values = u.mT @ phi.values * 1.01\n",
        "synthetic gradients 1% too long",
        INTERLACING + "test_distilled_kernels_interlace[numpy]",
    ),
    Mutant(
        DISTIL,
        "targets=(u.mT @ y).mT if u.ndim == 2",
        "targets=y.T[:, : u.shape[-1]] if u.ndim == 2",
        "synthetic targets not projected",
        INTERLACING + "test_synthetic_gradients_are_the_combinations_that_the_directions_say[numpy]",
    ),
    Mutant(
        DISTIL,
        "rows = rows * xp.astype(singular > threshold, rows.dtype)[:, None]",
        "rows = rows * xp.astype(singular > 0.5 * singular[:1], rows.dtype)[:, None]",
        "the row basis leaves out weak rows",
        GALERKIN + "test_same_span_objective_is_not_above_galerkin[numpy]",
    ),
    Mutant(
        DISTIL,
        "    basis = row_basis(values)\n",
        "    basis = values\n",
        "the basis of the span is not orthonormal",
        GALERKIN + "test_basis_is_orthonormal_and_projections_are_in_it[numpy]",
    ),
    Mutant(
        "dntk/solve/_same_span.py",
        "fit = solve_ridge(TangentFeatures(grads.projected), reference, ridge=chosen)",
        "fit = solve_ridge(TangentFeatures(grads.projected / 2), reference, ridge=chosen)",
        "same-span solve on half the projections",
        GALERKIN + "test_same_span_objective_is_not_above_galerkin[numpy]",
    ),
    Mutant(
        "dntk/solve/_ridge.py",
        "dual = xp.matmul(grads.directions, a)[:, :, 0]",
        "dual = xp.matmul(abs(grads.directions), a)[:, :, 0]",
        "dual coefficients not lifted by the directions",
        GALERKIN + "test_galerkin_error_is_least_in_the_span[numpy]",
    ),
    Mutant(
        "dntk/distill/gradients/principal.py",
        "spectra[1][..., : self.size]",
        "spectra[1][..., -self.size :]",
        "principal directions are the trailing ones",
        BRACKET + "test_principal_loses_the_least_possible[numpy]",
    ),
    Mutant(
        "dntk/distill/gradients/local_global.py",
        "    basis = left[:, :kept]\n    return basis - local @ (local.T @ basis)",
        "    return columns[:, :kept]",
        "gap columns are not orthonormalised",
        LOCAL + "test_directions_are_orthonormal_and_cover_what_was_asked[numpy]",
    ),
    Mutant(
        "dntk/distill/gradients/local_global.py",
        "    if not gap:\n",
        "    if gap is not None:\n",
        "gap columns are never added",
        LOCAL + "test_directions_are_orthonormal_and_cover_what_was_asked[numpy]",
    ),
    Mutant(
        "dntk/distill/gradients/local_global.py",
        "if count <= size and (",
        "if count <= size + 1 and (",
        "a budget is exceeded by one",
        LOCAL + "test_budget_is_kept[numpy]",
    ),
    Mutant(
        "dntk/distill/gradients/local_global.py",
        "float(covered[j]) < threshold",
        "float(covered[j]) > threshold",
        "covered columns are added, uncovered ones are not",
        LOCAL + "test_directions_are_orthonormal_and_cover_what_was_asked[numpy]",
    ),
    Mutant(
        CLUSTERING,
        "return xp.clip(total / c, min=0)",
        "return xp.abs(total / c)",
        "negative similarities count as positive ones",
        CLUSTERS + "test_the_embedding_is_that_of_the_normalised_adjacency_without_its_diagonal[numpy]",
    ),
    Mutant(
        CLUSTERING,
        "return 1 - values, vectors / roots[:, None]",
        "return 1 - values, vectors",
        "the embedding without D^(-1/2)",
        CLUSTERS + "test_the_embedding_is_that_of_the_normalised_adjacency_without_its_diagonal[numpy]",
    ),
    Mutant(
        CLUSTERING,
        "    laplacian, roots = csgraph.laplacian(affinity / (affinity.max() or 1.0), normed=True, return_diag=True)\n",
        "    roots = affinity.sum(axis=1) ** 0.5\n"
        "    laplacian = np.eye(len(affinity)) - affinity / roots[:, None] / roots\n",
        "points are their own neighbours",
        CLUSTERS + "test_the_embedding_is_that_of_the_normalised_adjacency_without_its_diagonal[numpy]",
    ),
    Mutant(
        CLUSTERING,
        "mixing = own * np.where(known, 1 / np.where(known, values, 1), 0)",
        "mixing = own",
        "Nyström's formula without 1/μ",
        CLUSTERS + "test_points_beyond_the_landmarks_are_embedded_by_nystroms_formula",
    ),
    Mutant(
        CLUSTERING,
        "    every[landmarks] = own\n",
        "",
        "landmarks are extended with their own similarity",
        CLUSTERS + "test_points_beyond_the_landmarks_are_embedded_by_nystroms_formula",
    ),
    Mutant(
        CLUSTERING,
        "random_state=seed % 2**32",
        "random_state=0",
        "k-means ignores the seed",
        CLUSTERS + "test_clusters_of_points_without_any_depend_on_the_seed_alone",
    ),
    Mutant(
        CLUSTERING,
        'uniforms(seed=seed, stream="landmarks"',
        'uniforms(seed=0, stream="landmarks"',
        "landmarks ignore the seed",
        CLUSTERS + "test_landmarks_depend_on_the_seed",
    ),
    Mutant(
        "dntk/distill/gradients/local_global.py",
        "min(self.clusters or spectrum.phi.n_outputs,",
        "min(self.clusters or 2,",
        "two clusters, however many outputs",
        REPORTS + "test_there_are_as_many_clusters_as_outputs_unless_told_otherwise",
    ),
    Mutant(
        "dntk/distill/gradients/local_global.py",
        "1 - float(xp.sum(leading_values * covered)) / float(xp.sum(leading_values))",
        "1 - float(xp.mean(covered))",
        "the local gap is not weighted",
        REPORTS + "test_the_local_gap_weighs_eigenvectors_by_their_eigenvalues",
    ),
    Mutant(
        "dntk/distill/gradients/partition.py",
        "pairs = values / c, vectors",
        "pairs = values, vectors",
        "eigenvalues of clusters C times too large",
        REPORTS + "test_ranks_of_clusters_hold_the_variance_of_the_mean_kernel_beyond_a_few_thousand_points_too",
    ),
    Mutant(
        "dntk/distill/gradients/diagnostics.py",
        "xp.cumulative_sum(values[c, :]) < needed",
        "xp.cumulative_sum(values[0, :]) < needed",
        "truncation ranks from the spectrum of the first output",
        REPORTS + "test_the_truncation_rank_is_that_of_every_outputs_own_kernel",
    ),
    Mutant(
        "dntk/distill/gradients/solution.py",
        "known = None if kernels is None else kernels[c : c + 1, :, :]",
        "known = None if kernels is None else kernels[:1, :, :]",
        "solutions of all outputs by the kernel of the first",
        "tests/test_solution_gradients.py::test_kernels_that_were_formed_before_are_what_is_used",
    ),
    Mutant(
        "dntk/spectrum/eigen.py",
        "pairs = [_leading(kernels[c, :, :], n) for c in bar.over(outputs)]",
        "pairs = [_leading(kernels[0, :, :], n) for c in bar.over(outputs)]",
        "eigenvectors of all outputs by the kernel of the first",
        "tests/test_solution_gradients.py::test_kernels_that_were_formed_before_are_what_is_used",
    ),
    Mutant(
        "dntk/estimator/_steps.py",
        "return gram_eigenvalues(xp.mean(problem.gram, axis=0))",
        "return gram_eigenvalues(problem.gram[0, :, :])",
        "the spectrum of a fit is that of the first output's kernel",
        "tests/test_formed_once.py::test_spectra_of_fits_are_those_of_their_features[numpy-solution]",
    ),
    Mutant(
        "dntk/distill/gradients/solution.py",
        "iterations=self.iterations,\n",
        "iterations=2,\n",
        "conjugate gradients stop after two steps",
        "tests/test_solution_gradients.py::test_solutions_are_found_where_the_preconditioner_knows_one_eigenvector",
    ),
]
