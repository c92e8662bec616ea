"""Sums over points: statistics of ridge regression, sample weights, chunks out of core."""

from property_tests.mutations.mutant import Mutant

NORMAL = "property_tests/test_normal_equations.py::"
PARTS = NORMAL + "test_parts_add_up_to_the_whole[numpy]"
DENSE = NORMAL + "test_errors_and_dimensions_are_those_of_dense_algebra[numpy]"
WEIGHTED = NORMAL + "test_weighted_regressions_and_their_path_are_those_of_scaled_rows[numpy]"
CHUNKS = NORMAL + "test_chunks_out_of_core_are_one_regression[numpy]"
EQUATIONS = "dntk/solve/normal_equations.py"

UNITS = "tests/test_statistics_of_any_size.py::test_"
ANOTHER_UNIT = UNITS + "a_float32_regression_out_of_core_is_that_of_gradients_in_another_unit[numpy-0.5-tiny]"

MUTANTS = [
    Mutant(
        "dntk/solve/_scaled.py",
        "or 1 / _SAFE <= largest <= _SAFE:",
        "or largest > 0:",
        "products of float32 features of any size formed as they are",
        ANOTHER_UNIT,
    ),
    Mutant(
        EQUATIONS,
        "raised(cross, e + f)",
        "raised(cross, e)",
        "Φᵀy in the unit of the scaled targets",
        ANOTHER_UNIT,
    ),
    Mutant(
        "dntk/solve/_range.py",
        "if largest < least and products > 0 and (ridge is None or ridge < least):",
        "if False:",
        "sums that underflowed are solved",
        UNITS + "float64_says_where_sums_leave_its_range[1e-310-1e-150-underflow]",
    ),
    Mutant(
        "dntk/solve/_range.py",
        "if ridge is None and squares < least and products > 0:",
        "if False:",
        "a ridge chosen by errors that underflowed",
        UNITS + "targets_too_small_for_a_choice_of_ridge_are_refused_and_served_at_a_given_one",
    ),
    Mutant(
        EQUATIONS,
        "features, targets = arrays.widened(features), arrays.widened(targets)",
        "",
        "products of 16 bits in 16 bits",
        UNITS + "16_bits_are_added_up_as_float32_adds_the_same_numbers[1.0]",
    ),
    Mutant(
        EQUATIONS,
        "cross_total=self.cross_total.merge(other.cross_total)",
        "cross_total=self.cross_total",
        "merging forgets the other part's Φᵀy",
        PARTS,
    ),
    Mutant(
        EQUATIONS,
        "gram_total=self.gram_total.merge(other.gram_total)",
        "gram_total=other.gram_total",
        "merging forgets this part's ΦᵀΦ",
        PARTS,
    ),
    Mutant(
        EQUATIONS,
        "square_total=self.square_total.merge(other.square_total)",
        "square_total=self.square_total",
        "merging forgets the other part's Σy²",
        PARTS,
    ),
    Mutant(
        EQUATIONS,
        "weight=self.weight + other.weight",
        "weight=self.weight + other.points",
        "merging counts points in place of weights",
        PARTS,
    ),
    Mutant(
        EQUATIONS,
        "square_total=total.square_total + squares",
        "square_total=total.square_total",
        "updating forgets the new Σy²",
        PARTS,
    ),
    Mutant(
        EQUATIONS,
        "features, targets = features * root, targets * root",
        "features = features * root",
        "sample weights do not weigh the targets of Φᵀy",
        PARTS,
    ),
    Mutant(
        EQUATIONS,
        "xp.sum(w * (2 * self.cross - self.gram @ w), axis=1)",
        "xp.sum(w * (self.cross - self.gram @ w), axis=1)",
        "the residual of given weights with wᵀb once",
        DENSE,
    ),
    Mutant(
        EQUATIONS,
        "return max(least, 3 * float(xp.max(ratio)))",
        "return least",
        "rounding of float32 products not measured",
        "tests/test_normal_equations.py::test_rounding_is_estimated_within_its_margin",
    ),
    Mutant(
        "dntk/solve/compensated.py",
        "carry=self.carry + lost",
        "carry=self.carry",
        "compensated sums forget what rounding left out",
        "tests/test_normal_equations.py::test_compensation_keeps_what_a_float32_sum_forgets",
    ),
    Mutant(
        "dntk/solve/normal_spectrum.py",
        "((e + 2 * lam) / (e + lam) ** 2)",
        "((e + lam) / (e + lam) ** 2)",
        "the residual of a ridge with λ in place of 2λ",
        DENSE,
    ),
    Mutant(
        "dntk/solve/normal_spectrum.py",
        "(e / (e + ridges[:, None, None]), axis=2)",
        "(e**2 / (e + ridges[:, None, None]) ** 2, axis=2)",
        "degrees of freedom Σ (e/(e + λ))²",
        DENSE,
    ),
    Mutant(
        "dntk/solve/normal_spectrum.py",
        "return known / slack[:, :, None] ** 2",
        "return known / slack[:, :, None]",
        "GCV divides by 1 − d_λ/n once",
        DENSE,
    ),
    Mutant(
        "dntk/solve/problem.py",
        "targets=y * column, weight",
        "targets=y, weight",
        "sample weights do not weigh the targets",
        WEIGHTED,
    ),
    Mutant(
        "dntk/solve/problem.py",
        "root = xp.sqrt(xp.astype(sample_weights, dtype, copy=False))",
        "root = xp.astype(sample_weights, dtype, copy=False)",
        "rows scaled by the weights, not by their roots",
        WEIGHTED,
    ),
    Mutant(
        "dntk/solve/_ridge.py",
        "solution.dual * problem.scale[None, :, None]",
        "solution.dual",
        "dual coefficients of weighted rows taken for those of the rows",
        WEIGHTED,
    ),
    Mutant(
        "dntk/solve/path.py",
        "return weights, xp.clip(squares, min=0) / problem.weight, floor",
        "return weights, xp.clip(squares, min=0) / problem.points, floor",
        "the path's mean residual over points, not weights",
        WEIGHTED,
    ),
    Mutant(
        "dntk/solve/folds.py",
        "(values[:, :, None] + row)[:, :, :, None]",
        "(values[:, :, None] + 0 * row + row[:1])[:, :, :, None]",
        "every ridge of a path is the first (dual)",
        WEIGHTED,
    ),
    Mutant(
        "dntk/solve/normal_spectrum.py",
        "(self.values[:, :, None] + ridges)[:, :, :, None]",
        "(self.values[:, :, None] + 0 * ridges + ridges[:1])[:, :, :, None]",
        "every ridge of a path is the first (primal)",
        WEIGHTED,
    ),
    Mutant(
        "dntk/solve/out_of_core.py",
        "if total is None else total.update(x, y)",
        "if total is None or total.points else total.update(x, y)",
        "only the last chunk counts",
        CHUNKS,
    ),
    Mutant(
        "dntk/solve/out_of_core.py",
        "used = gram.shape[1] - (chosen + added) * xp.sum",
        "used = gram.shape[1] - xp.sum",
        "degrees of freedom of chunks k − tr (G + λ)⁻¹ without λ",
        CHUNKS,
    ),
    Mutant(
        "dntk/solve/checkpoint.py",
        "if digest_of(features, targets) != bytes(",
        "if False and bytes(",
        "a checkpoint of other chunks is gone on from",
        "tests/test_normal_equations.py::test_a_checkpoint_of_other_chunks_is_refused",
    ),
    Mutant(
        "dntk/solve/out_of_core.py",
        "digests.append(digest_of(features, targets))",
        "digests += [digest_of(features, targets)] if number else []",
        "a resumed job counts a chunk twice",
        "tests/test_normal_equations.py::test_a_killed_job_goes_on_after_its_last_whole_chunk",
    ),
]
