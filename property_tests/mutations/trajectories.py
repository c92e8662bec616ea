"""Kernels along training from a few points."""

from property_tests.mutations.mutant import Mutant

MEASURES = "dntk/trajectories/measures.py"
HELD_OUT = "dntk/trajectories/held_out.py"
FEW_POINTS = "dntk/trajectories/few.py"
INTERPOLATION = "dntk/trajectories/interpolation.py"
PROBES = "dntk/trajectories/probes.py"
TRAJECTORY = "dntk/trajectories/_trajectory.py"
PROCESS = "dntk/trajectories/gaussian_process.py"
FORWARD = "dntk/trajectories/_from_last_layer.py"
RUN = "dntk/trajectories/_run.py"
TESTS = "tests/test_trajectory.py::"
LAST = "tests/test_trajectory_last_layer.py::"
DENSE_PROCESS = LAST + "test_what_a_process_says_are_dense_formulas[numpy-by_leading]"
DENSE_ALL = LAST + "test_what_a_process_says_are_dense_formulas[numpy-by_all]"
JUDGED = LAST + "test_held_out_points_judge_by_what_they_are_and_should_be"
PUT_RIGHT = LAST + "test_the_alignment_is_put_right_by_what_held_out_points_are_off"
DENSE = TESTS + "test_all_points_give_the_dense_formulas[numpy]"
COPIES = TESTS + "test_copies_of_the_few_are_told_at_every_checkpoint[numpy--1]"
FEW = TESTS + "test_few_points_are_exact_where_all_are_known[numpy--1]"

FORMULA = TESTS + "test_alignments_with_probes_are_those_of_a_formula[numpy]"
WHOLE = TESTS + "test_all_probes_and_what_is_missed_give_the_sums_of_all_points"
RIGHT = TESTS + "test_probes_are_asked_of_one_output_and_put_the_alignment_right"

MUTANTS = [
    Mutant(
        PROCESS,
        "return lengths * (degrees[0] + degrees[1]) / (2 * math.pi)",
        "return lengths * degrees[0] / math.pi",
        "the hidden layer does not move",
        LAST + "test_the_tangent_kernel_is_that_of_a_wide_network_of_relu[numpy]",
    ),
    Mutant(
        PROCESS,
        "return math.log(mean) - float(xp.mean(xp.log(precision)))",
        "return math.log(mean)",
        "likelihood forgets how sure it was",
        DENSE_ALL,
    ),
    Mutant(
        PROCESS,
        "weights = values / (values + COUNTED * xp.sum(values))",
        "weights = xp.ones_like(values)",
        "many small directions tell what inputs do not",
        DENSE_PROCESS,
    ),
    Mutant(
        PROCESS,
        "return float(xp.sum(weights * (xp.log(variances) - xp.mean(xp.log(precision)))))",
        "return float(xp.sum(weights * xp.log(variances)))",
        "the likelihood of leading directions forgets how sure it was",
        DENSE_PROCESS,
    ),
    Mutant(
        PROCESS,
        "variances = xp.mean((half @ turned) ** 2 / precision[:, None], axis=0)",
        "variances = xp.mean((half @ turned) ** 2, axis=0)",
        "residuals along leading directions count alike, however sure",
        DENSE_PROCESS,
    ),
    Mutant(
        FORWARD,
        "(every, by_leading), (every, by_all))",
        "(every, by_leading), (every, by_leading))",
        "leading directions tell how many there are",
        LAST + "test_leading_directions_tell_all_but_the_dimension",
    ),
    Mutant(
        FORWARD,
        "for size, surprise in ((self.size, by_leading), (every, by_leading),",
        "for size, surprise in ((self.size, by_leading), (every, by_all),",
        "leading eigenvalues are told by all directions",
        LAST + "test_leading_directions_tell_all_but_the_dimension",
    ),
    Mutant(
        FORWARD,
        "for size, surprise in ((self.size, by_leading), (every,",
        "for size, surprise in ((self.size, by_all), (every,",
        "leading eigenvalues are judged by all directions",
        JUDGED,
    ),
    Mutant(
        PROCESS,
        "variance = _squares(inputs[start:stop, :]) + untold -",
        "variance = _squares(inputs[start:stop, :]) -",
        "what inputs do not tell of a gradient is not missed",
        DENSE_ALL,
    ),
    Mutant(
        PROCESS,
        "root = _root(process.coefficients.T @ process.coefficients + within)",
        "root = _root(process.coefficients.T @ process.coefficients)",
        "what combinations miss has no share in the kernel",
        DENSE_PROCESS,
    ),
    Mutant(
        PROCESS,
        "return self.inverse / arrays.namespace(self.inverse).linalg.diagonal(self.inverse)[:, None] ** 0.5",
        "return self.inverse / arrays.namespace(self.inverse).linalg.diagonal(self.inverse)[:, None]",
        "residuals of all points count alike",
        DENSE_PROCESS,
    ),
    Mutant(
        PROCESS,
        "return tangent_kernel(z, z) + self.untold * eye - p @",
        "return tangent_kernel(z, z) - p @",
        "held-out points should be told exactly by their inputs",
        DENSE_ALL,
    ),
    Mutant(
        PROCESS,
        "total += self.untold * float(xp.sum(mine**2) - xp.sum(mine * (rows @ few)))",
        "total += self.untold * float(xp.sum(mine**2))",
        "sums over all points miss what the few have",
        DENSE_ALL,
    ),
    Mutant(
        PROCESS,
        "return max(total * targets.shape[0] / points.shape[0], 0.0)",
        "return max(total, 0.0)",
        "a sample of rows stands for itself",
        LAST + "test_rows_of_a_sample_stand_for_all",
    ),
    Mutant(
        PROCESS,
        "moved = _norm(now) ** 2 * growth**2 - 2 * growth * cross + before",
        "moved = _norm(now) ** 2 * growth**2 - 2 * cross + before",
        "the drift has two units",
        LAST + "test_drift_is_between_what_two_checkpoints_tell",
    ),
    Mutant(
        PROCESS,
        "cross = float(xp.sum((across @ self.kernel) * (first.kernel @ across)))",
        "cross = float(xp.sum(self.kernel * first.kernel))",
        "the drift is that of the few alone",
        LAST + "test_drift_is_between_what_two_checkpoints_tell",
    ),
    Mutant(
        PROCESS,
        "kept = xp.clip(values - (_excess(values, gram) if excess is None else excess), 0, None)",
        "kept = values",
        "gradients in many directions are taken for few large ones",
        LAST + "test_gradients_in_many_directions_are_not_taken_for_few_large_ones",
    ),
    Mutant(
        PROCESS,
        "wanted, found = pairs * few / max(few - 1, 1), _on_host(values)",
        "wanted, found = pairs, _on_host(values)",
        "pairs of residuals are counted with those of a residual with itself",
        DENSE_PROCESS,
    ),
    Mutant(
        PROCESS,
        "return found + rest, rest",
        "return found, rest",
        "leading eigenvalues have no share of what is in many directions",
        DENSE_PROCESS,
    ),
    Mutant(
        FORWARD,
        "upper[:DIMENSION] = np.maximum(upper[:DIMENSION], most)",
        "",
        "intervals do not know in how many directions gradients are missed",
        LAST + "test_intervals_reach_as_far_as_the_number_of_directions_is_unknown",
    ),
    Mutant(
        FORWARD,
        "share = last**2 / (last**2 + 3 * error**2) if last > 0 else 0.0",
        "share = 1.0",
        "held-out points are believed whatever their spread",
        PUT_RIGHT,
    ),
    Mutant(
        FORWARD,
        "best, least, most = known + share * (middle + last),",
        "best, least, most = known + share * middle,",
        "the estimate is shrunk to one end",
        PUT_RIGHT,
    ),
    Mutant(
        FORWARD,
        "at + reach + 2 * last",
        "at + reach",
        "what is missed in square may be nothing only",
        PUT_RIGHT,
    ),
    Mutant(
        FORWARD,
        "each = 2 * (self.points - self.size) *",
        "each = 2 * (self.where.shape[0] - self.size) *",
        "held-out points stand for themselves",
        PUT_RIGHT,
    ),
    Mutant(
        FORWARD,
        "differences[:, :DIMENSION] *= unit",
        "differences[:, :DIMENSION] *= 1.0",
        "eigenvalues of held-out points are in another unit",
        LAST + "test_quantities_do_not_depend_on_the_scale[1e-140]",
    ),
    Mutant(
        FORWARD,
        "self.points / count * (same + others * (self.points - 1) / (count - 1))",
        "self.points / count * (same + others * self.points / count)",
        "pairs of a point with itself count as others",
        JUDGED,
    ),
    Mutant(
        FORWARD,
        "rows=outputs * where.shape[0] * len(run.models)",
        "rows=outputs * size * len(run.models)",
        "held-out points cost nothing",
        LAST + "test_few_points_and_forward_passes_tell_all[numpy]",
    ),
    Mutant(
        RUN,
        "seen = distilled is not None and at is None and has_last_layer(model, x)",
        "seen = distilled is not None and at is None",
        "a last layer is thought to be seen everywhere",
        LAST + "test_where_the_last_layer_is_not_seen_the_last_checkpoint_is_the_reference",
    ),
    Mutant(
        RUN,
        "if reference is not None:\n        return length - 1",
        "if reference is not None:\n        return 0",
        "the reference of networks without a last layer is the first checkpoint",
        LAST + "test_where_the_last_layer_is_not_seen_the_last_checkpoint_is_the_reference",
    ),
    Mutant(
        HELD_OUT,
        "apart = without / unit - np.mean(without / unit, axis=0)",
        "apart = without / unit",
        "spread is about nothing",
        JUDGED,
    ),
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
        "np.sqrt((GROUPS - 1) / GROUPS *",
        "np.sqrt(1e-3 / GROUPS *",
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
