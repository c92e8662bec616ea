"""Kernels, features, chosen points and spectra."""

from property_tests.mutations.mutant import Mutant

SCALES = "tests/test_scales.py::"
KERNELS = "property_tests/test_positive_semidefinite.py::"
META = "property_tests/test_metamorphic.py::"
NYSTROM = "property_tests/test_nystrom.py::"
SPECTRUM = "property_tests/test_spectrum.py::"
GROUPS = "tests/test_ntk.py::test_groups_of_unequal_numbers_of_outputs_weigh_by_their_numbers"

MUTANTS = [
    Mutant(
        "dntk/arrays.py",
        "0 in largest or largest[0] * largest[1] >= least",
        "True",
        "features whose products underflow are taken",
        SCALES + "test_features_whose_products_underflow_are_refused_where_a_kernel_is_made_of_them",
    ),
    Mutant(
        "dntk/arrays.py",
        "if 0 in largest or",
        "if",
        "features of a dead network are refused as too small",
        SCALES + "test_features_of_zero_are_not_small",
    ),
    Mutant(
        "dntk/models/_finite_results.py",
        "if not all(entries) or not (with_itself or",
        "if True or not (with_itself or",
        "an exact kernel that underflowed is returned",
        SCALES + "test_a_network_whose_gradients_underflow_is_refused_and_one_whose_gradients_are_zero_is_not",
    ),
    Mutant(
        "dntk/models/_finite_results.py",
        "if not all(entries) or not (with_itself or",
        "if not (with_itself or",
        "the kernel of a dead network is refused as too small",
        SCALES + "test_a_network_whose_gradients_underflow_is_refused_and_one_whose_gradients_are_zero_is_not",
    ),
    Mutant(
        "dntk/models/_finite_results.py",
        "for lift in (1.0, least**-0.75):",
        "for lift in (1.0,):",
        "gradients that underflow on their way back are taken for those of a dead network",
        SCALES + "test_kernels_of_small_factors_are_refused_wherever_they_are_lost",
    ),
    Mutant(
        "dntk/kernels/assembly.py",
        "with_itself=x2 is None",
        "with_itself=False",
        "a kernel is returned whose factors underflowed though gradients did not",
        SCALES + "test_kernels_of_small_factors_are_refused_wherever_they_are_lost",
    ),
    Mutant(
        "dntk/kernels/assembly.py",
        'unit="pairs") as bar, arrays.checked_afterwards():',
        'unit="pairs") as bar:',
        "NumPy's warning comes before the error that names the remedy",
        SCALES + "test_the_operator_refuses_what_the_kernel_refuses",
    ),
    Mutant(
        "dntk/features/in_memory.py",
        'arrays.require_products("values", self.values, largest=largest, terms=math.prod(self.values.shape))',
        "pass",
        "features whose kernel overflows are taken",
        SCALES + "test_features_whose_kernel_overflows_are_refused[numpy]",
    ),
    Mutant(
        "dntk/kernels/operator.py",
        "self._require_finite(products)",
        "pass",
        "the operator returns NaN where the kernel is refused",
        SCALES + "test_the_operator_refuses_what_the_kernel_refuses",
    ),
    Mutant(
        "dntk/features/in_memory.py",
        "(n, c * k)) * c**-0.5",
        "(n, c * k))",
        "mean kernel without 1/C",
        KERNELS + "test_kernels_of_features_are_positive_semidefinite[numpy]",
    ),
    Mutant(
        "dntk/features/in_memory.py",
        "scale = self.n_outputs**-0.5",
        "scale = 1.0",
        "the kernel of the sum without 1/C",
        KERNELS + "test_kernels_of_features_are_positive_semidefinite[numpy]",
    ),
    Mutant(
        "dntk/features/in_memory.py",
        "return xp.where(points < 0, points + n, points)",
        "return xp.sort(xp.where(points < 0, points + n, points))",
        "chosen points come in ascending order",
        META + "test_slices_of_points_have_slices_of_the_kernel[numpy]",
    ),
    Mutant(
        "dntk/kernels/assembly.py",
        "permute_dims(tile, (2, 3, 0, 1)) if tile.ndim == 4 else tile.mT",
        "permute_dims(tile, (2, 3, 0, 1)) if tile.ndim == 4 else tile",
        "tiles of the kernel not mirrored",
        KERNELS + "test_ntk_is_symmetric_and_positive_semidefinite[numpy]",
    ),
    Mutant(
        "dntk/kernels/assembly.py",
        "    total += part\n",
        "    total -= part\n",
        "layers of a kernel subtracted",
        KERNELS + "test_ntk_is_symmetric_and_positive_semidefinite[numpy]",
    ),
    Mutant(
        "dntk/gradient_blocks/factored.py",
        "                products += 1\n",
        "                products += 0\n",
        "a layer's bias forgotten by the contraction",
        KERNELS + "test_all_forms_of_the_kernel_agree[numpy]",
    ),
    Mutant(
        "dntk/gradient_blocks/factored.py",
        "self._similarity(other))[0, ...] / self.shape[0]",
        "self._similarity(other))[0, ...]",
        "the mean over outputs is a sum",
        KERNELS + "test_all_forms_of_the_kernel_agree[numpy]",
    ),
    Mutant(
        "dntk/spectrum/_coverage.py",
        "xp.sum((directions.mT @ vectors) ** 2, axis=-2)",
        "xp.max((directions.mT @ vectors) ** 2, axis=-2)",
        "coverage by the largest share",
        SPECTRUM + "test_coverage_is_energy_and_its_complement_a_residual[numpy]",
    ),
    Mutant(
        "dntk/spectrum/_coverage.py",
        "1 - float(xp.sum(values * covered)) / total",
        "1 - float(xp.mean(covered))",
        "the coverage gap is not weighted",
        SPECTRUM + "test_coverage_gap_is_the_weighted_share_that_is_missed[numpy]",
    ),
    Mutant(
        "dntk/spectrum/rank.py",
        "return int(xp.sum(xp.astype(held < needed, xp.int32))) + 1",
        "return int(xp.sum(xp.astype(held < needed, xp.int32)))",
        "truncation rank one too small",
        SPECTRUM + "test_truncation_rank_is_least_and_does_not_grow[numpy]",
    ),
    Mutant(
        "dntk/spectrum/rank.py",
        "sum(values / (values + ridge))",
        "sum(ridge / (values + ridge))",
        "effective dimension Σ λ/(λ_i + λ)",
        "property_tests/test_ridge.py::test_more_ridge_means_fewer_dimensions_and_larger_misfit[numpy]",
    ),
    Mutant(
        "dntk/spectrum/rank.py",
        "smallest = float(values[-1]) + ridge",
        "smallest = float(values[-1]) or ridge",
        "condition number of the kernel without its ridge",
        SPECTRUM + "test_condition_number_is_that_of_the_shifted_kernel[numpy]",
    ),
    Mutant(
        "dntk/spectrum/_alignment.py",
        "norm = float(xp.linalg.matrix_norm(kernel)) * float(xp.linalg.matrix_norm(columns.T @ columns))",
        "norm = float(xp.linalg.matrix_norm(columns.T @ columns))",
        "alignment not divided by the norm of the kernel",
        SPECTRUM + "test_alignment_is_a_cosine[numpy]",
    ),
    Mutant(
        "dntk/spectrum/_alignment.py",
        "kernel, columns = _unit(kernel), _unit(columns)",
        "",
        "alignment of kernels as large as they come",
        SPECTRUM + "test_alignment_does_not_depend_on_the_scale_of_the_kernel",
    ),
    Mutant(
        "dntk/spectrum/eigen.py",
        "values = xp.clip(xp.flip(xp.linalg.eigvalsh(_mean_gram(phi)), axis=0), min=0)",
        "values = xp.clip(xp.linalg.eigvalsh(_mean_gram(phi)), min=0)",
        "eigenvalues in ascending order",
        SPECTRUM + "test_eigenvalues_are_those_of_the_kernel[numpy]",
    ),
    Mutant(
        "dntk/spectrum/eigen.py",
        "xp.flip(vectors, axis=-1)[:, :size]",
        "vectors[:, :size]",
        "eigenvectors of the smallest eigenvalues",
        SPECTRUM + "test_eigenpairs_are_orthonormal_and_solve_the_equation[numpy]",
    ),
    Mutant(
        "dntk/kernels/assembly.py",
        "total += kernel * (size / sum(sizes))",
        "total += kernel * (1 / len(sizes))",
        "later groups of outputs weigh the same, however many there are",
        GROUPS,
    ),
    Mutant(
        "dntk/kernels/assembly.py",
        "total = kernels[0] * (sizes[0] / sum(sizes))",
        "total = kernels[0] * (1 / len(sizes))",
        "the first group of outputs weighs as any other",
        GROUPS,
    ),
]
