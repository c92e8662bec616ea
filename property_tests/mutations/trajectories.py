"""Kernels along training from a few points."""

from property_tests.mutations.mutant import Mutant

MEASURES = "dntk/trajectories/measures.py"
HELD_OUT = "dntk/trajectories/held_out.py"
FEW_POINTS = "dntk/trajectories/few.py"
INTERPOLATION = "dntk/trajectories/interpolation.py"
PROBES = "dntk/trajectories/probes.py"
TRAJECTORY = "dntk/trajectories/_trajectory.py"
TESTS = "tests/test_trajectory.py::"
DENSE = TESTS + "test_all_points_give_the_dense_formulas[numpy]"
COPIES = TESTS + "test_copies_of_the_few_are_told_at_every_checkpoint[numpy--1]"
FEW = TESTS + "test_few_points_are_exact_where_all_are_known[numpy--1]"

FORMULA = TESTS + "test_alignments_with_probes_are_those_of_a_formula[numpy]"
WHOLE = TESTS + "test_all_probes_and_what_is_missed_give_the_sums_of_all_points"
RIGHT = TESTS + "test_probes_are_asked_of_one_output_and_put_the_alignment_right"

MUTANTS = [
    Mutant(
        PROBES,
        "each = each + 2 * self.population *",
        "each = each + 2 * self.rows.shape[0] *",
        "probes stand for another number of points and outputs",
        FORMULA,
    ),
    Mutant(
        PROBES,
        "return sums + min(growth, GROWTH) * self.excess,",
        "return sums,",
        "what is missed is thought to agree nowhere",
        FORMULA,
    ),
    Mutant(
        PROBES,
        "return sums + min(growth, GROWTH) *",
        "return sums + growth *",
        "what is missed grows without end",
        TESTS + "test_agreement_of_what_is_missed_does_not_grow_without_end",
    ),
    Mutant(
        PROBES,
        "each = product.each - top / bottom * kernel.each",
        "each = product.each",
        "the spread forgets that both sums are of the same probes",
        FORMULA,
    ),
    Mutant(
        PROBES,
        "own = at[c, :, :] - self.own @ at[c, :, :]",
        "own = at[c, :, :]",
        "what the few miss of themselves is all that they are",
        WHOLE,
    ),
    Mutant(
        PROBES,
        "arrays.in_float64(phi.values) / unit, arrays.in_float64(sample) / unit",
        "arrays.in_float64(phi.values) / unit, arrays.in_float64(sample)",
        "probes are in other units than the few",
        TESTS + "test_alignments_with_probes_do_not_depend_on_the_scale[1e+30]",
    ),
    Mutant(
        PROBES,
        "self.outputs * n + self.where, axis=0)",
        "self.where, axis=0)",
        "probes are of the first output at the reference",
        FORMULA,
    ),
    Mutant(
        TRAJECTORY,
        "others, rest = drawn[:held_out], drawn[held_out:]",
        "others, rest = drawn[:held_out], drawn[:probes]",
        "probes are points of which all outputs are known",
        TESTS + "test_probes_are_other_points_than_those_of_all_outputs",
    ),
    Mutant(
        TRAJECTORY,
        "t != run.reference:",
        "False:",
        "alignments are not put right",
        RIGHT,
    ),
    Mutant(
        MEASURES,
        "(kernel * scale**2 - before) ** 2, before**2)",
        "(kernel - before) ** 2, before**2)",
        "drift is not in units of the first kernel",
        DENSE,
    ),
    Mutant(
        MEASURES,
        "product / (kernel * labels) ** 0.5",
        "product / (kernel * labels)",
        "alignment divides by squared norms",
        DENSE,
    ),
    Mutant(
        MEASURES,
        "everywhere * sample / np.where(known, at_reference, 1)",
        "sample * np.where(known, 1, at_reference)",
        "what the points miss at the reference is not corrected",
        FEW,
    ),
    Mutant(
        MEASURES,
        "total[i] -= float(xp.sum(own * left**2))",
        "total[i] -= 0.0",
        "pairs of a point with itself stand for pairs of two",
        TESTS + "test_pairs_of_a_uniform_sample_are_unbiased",
    ),
    Mutant(
        MEASURES,
        "both = xp.concat([left, 2 * w[stop:]])",
        "both = xp.concat([left, w[stop:]])",
        "pairs of two blocks count once",
        TESTS + "test_blocks_of_rows_give_the_sums_of_all_pairs",
    ),
    Mutant(
        HELD_OUT,
        "taken[np.asarray(backend_of(chosen).to_numpy(chosen))] = False",
        "taken[:0] = False",
        "held-out points may be chosen ones",
        TESTS + "test_held_out_points_were_not_chosen",
    ),
    Mutant(
        HELD_OUT,
        "deviation = np.sqrt((GROUPS - 1) / GROUPS *",
        "deviation = np.sqrt(1e-3 / GROUPS *",
        "the jackknife forgets that its replicates share points",
        TESTS + "test_intervals_of_held_out_points_hold_the_value_of_all_points_about_as_often_as_they_say",
    ),
    Mutant(
        FEW_POINTS,
        "_spread(self.measures, self.chosen, mine, then) + found - expected",
        "_spread(self.measures, self.chosen, mine, then) + found",
        "intervals forget what held-out points should be",
        COPIES,
    ),
    Mutant(
        FEW_POINTS,
        "every=Interpolation.fitted(phi, where).spread(targets)",
        "every=Interpolation.fitted(phi, where).spread(None)",
        "the alignment forgets the targets",
        COPIES,
    ),
    Mutant(
        INTERPOLATION,
        "values + RIDGE * largest",
        "values + RIDGE",
        "the ridge of the coefficients has no units",
        TESTS + "test_coefficients_are_those_of_ridge_regression[numpy]",
    ),
    Mutant(
        INTERPOLATION,
        "inside = q.T @ every",
        "inside = root.T @ (q.T @ every)",
        "targets are not in the coordinates of the kernel",
        TESTS + "test_the_spread_of_few_has_the_kernel_of_all_combinations[numpy]",
    ),
    Mutant(
        FEW_POINTS,
        "found[ALIGNMENT] *= spread.share",
        "found[ALIGNMENT] *= 1.0",
        "alignments with a part of the targets pass for those with all",
        TESTS + "test_alignments_are_with_all_targets",
    ),
]
