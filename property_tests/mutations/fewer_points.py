"""Fewer points: which are kept for a tolerance, and what is made of those that are."""

from property_tests.mutations.mutant import Mutant

CHOICE = "dntk/estimator/point_choice.py"
CHOOSES = "tests/test_point_choice.py::"
NEEDED = CHOOSES + "TestHowManyPointsAreNeeded::"
CHEAPEST = CHOOSES + "TestTheCheapestIsTaken::"
JOINT = "tests/test_joint.py::"
FIT = "tests/test_joint_fit.py::"
DENSE = "test_predictions_and_deviations_are_those_of_one_process_for_all_outputs"
FITTED = "tests/test_fitted_targets.py::"
LEFT = "dntk/solve/_points_left_out.py"
LEAVES = "tests/test_points_left_out.py::"
WITHOUT = LEAVES + "test_the_error_is_that_of_fits_without_each_point[numpy-{}]"

MUTANTS = [
    Mutant(
        "dntk/estimator/_steps.py",
        "together = stages.parts.rows(1)[1]",
        "together = 1",
        "rows of a point that is left out stay in a fit of all outputs",
        LEAVES + "test_a_fit_of_all_outputs_says_the_error_of_points[0.05]",
    ),
    Mutant(
        "dntk/solve/_joint.py",
        "rows, together = stacked.values, features.n_outputs",
        "rows = stacked.values",
        "rows of a point that is left out stay in one regression",
        LEAVES + "test_a_ridge_is_chosen_and_an_error_stated_of_points_and_not_of_rows[numpy]",
    ),
    Mutant(
        LEFT,
        "return xp.permute_dims(xp.reshape(rows, (g, together, n // together, k)), (0, 2, 1, 3))",
        "return xp.reshape(rows, (g, n // together, together, k))",
        "rows of different points are left out together",
        WITHOUT.format("tall"),
    ),
    Mutant(
        LEFT,
        "block = (wide * kept[:, None, None, :, i]) @ wide.mT",
        "block = (wide * kept[:, None, None, :, 0]) @ wide.mT",
        "what points keep at one ridge is taken for that at others",
        WITHOUT.format("wide"),
    ),
    Mutant(
        LEFT,
        "block = one - (wide * inverse[:, None, None, :, i]) @ wide.mT",
        "block = one - (wide * inverse[:, None, None, :, i] ** 2) @ wide.mT",
        "leverage of points is that of another smoother",
        WITHOUT.format("tall"),
    ),
    Mutant(
        "dntk/solve/folds.py",
        "np.tile(fold_of_points(points, folds=folds, seed=seed), problem.together)",
        "fold_of_points(problem.points, folds=folds, seed=seed)",
        "rows of a point are in different folds",
        LEAVES + "test_folds_of_single_points_are_leave_one_out[wide]",
    ),
    Mutant(
        CHOICE,
        "(1 - every / points) * np.exp(curve)",
        "np.exp(curve)",
        "points that are kept are taken to lose as much as others",
        NEEDED + "test_the_kept_points_lose_nothing",
    ),
    Mutant(
        CHOICE,
        "values[-1] - slope * (np.log(every) - logs[-1])",
        "values[-1]",
        "no number of points beyond the trial leaves less than all of it",
        NEEDED + "test_a_power_of_their_number_is_followed_between_the_sizes_and_beyond[1.0]",
    ),
    Mutant(
        CHOICE,
        "falling = np.minimum.accumulate(np.clip(left, 1e-12, None))",
        "falling = np.clip(left, 1e-12, None)",
        "a loss that rises by chance asks for more points",
        NEEDED + "test_a_loss_that_rises_by_chance_is_taken_to_stay",
    ),
    Mutant(
        CHOICE,
        "cost = self.points * look + self._kept(needed)",
        "cost = look + self._kept(needed)",
        "looking at all points costs as much as looking at one",
        CHEAPEST + "test_all_points_are_kept_where_that_costs_less_and_memory_allows",
    ),
    Mutant(
        CHOICE,
        "energies = energies_of(frame, self.judges, np.arange(len(self.judges)))",
        "energies = energies_of(frame, self.among, np.arange(len(self.among)))",
        "points judge themselves",
        CHEAPEST + "test_the_points_that_each_way_needs_do_leave_so_much_of_the_others",
    ),
    Mutant(
        "dntk/estimator/specification.py",
        'with recorder.stage("trial of points"):',
        'with LedgerRecorder().stage("trial of points"):',
        "a trial of points is in no ledger",
        CHOOSES + "TestInAFit::test_it_is_said_planned_and_paid_for",
    ),
    Mutant(
        "dntk/distill/data/random.py",
        "order = moved(self._order(batches.count(x))[: self.size], like)",
        "order = moved(np.arange(self.size), like)",
        "random points that are drawn without a look are the first ones",
        CHOOSES + "TestRandomPointsCostNothing::test_they_are_those_that_are_chosen_by_features[numpy]",
    ),
    Mutant(
        "dntk/solve/regressions.py",
        "xp.reshape(y.T, (c * m, 1))",
        "xp.reshape(y, (c * m, 1))",
        "rows of one output are regressed on targets of another",
        JOINT + "TestJointRegression::test_it_is_the_minimiser_over_all_rows[numpy]",
    ),
    Mutant(
        "dntk/solve/_joint.py",
        "xp.sum(weights * y, axis=1, keepdims=True)",
        "xp.sum(y, axis=1, keepdims=True)",
        "functionals are regressed on the sum of the outputs",
        JOINT + "TestJointRegression::test_functionals_are_regressed_on_their_own_targets[numpy]",
    ),
    Mutant(
        "dntk/solve/regressions.py",
        "y).sum(g * y, axis=1, keepdims=True)",
        "y).sum(y, axis=1, keepdims=True)",
        "functionals of a fit are regressed on the sum of the outputs",
        FIT + "TestWhatItSays::" + DENSE + "[numpy-functionals]",
    ),
    Mutant(
        "dntk/solve/regressions.py",
        "np.ldexp(np.round(parts * 256) / 256, exponents)",
        "np.ldexp(parts, exponents)",
        "cotangents are others in half precision than in the targets",
        FIT + "TestCotangents::test_they_point_everywhere_alike_and_half_precision_holds_them",
    ),
    Mutant(
        "dntk/estimator/_fitting.py",
        "        targets=run.goals,",
        "        targets=run.points.targets[:, :1],",
        "the certificate of one regression is of other targets",
        FIT + "TestWhatItSays::test_the_certificate_is_of_the_rows_and_holds[joint]",
    ),
    Mutant(
        "dntk/certificates/approximation.py",
        "if span.basis.shape[0] == 1 < reference.n_outputs:",
        "if span.basis.shape[0] == 0:",
        "a fit of one regression is compared with separate ones without a word of how to",
        FIT + "TestWhatIsRefused::test_a_certificate_against_features_that_are_no_rows",
    ),
    Mutant(
        "dntk/estimator/specification.py",
        "if tolerance is not None and not isinstance(regression, Separate):",
        "if tolerance is not None and not isinstance(regression, object):",
        "a tolerance is searched for as if regressions were separate",
        FIT + "TestWhatIsRefused::test_a_tolerance",
    ),
    Mutant(
        "dntk/outputs/_functional.py",
        "return cotangents * labels[None, :, :]",
        "return cotangents + 0 * labels[None, :, :]",
        "a functional's gradient is that of the sum of the outputs",
        JOINT + "TestFunctionals::test_values_and_features_are_those_of_the_outputs_combined[numpy]",
    ),
    Mutant(
        "dntk/distill/data/_fitted_targets.py",
        "own = (kept @ weights + ridge * dual)",
        "own = (kept @ weights)",
        "fitted targets forget the ridge of the regression that they are for",
        FITTED + "test_a_regression_on_them_has_these_weights_and_objective[numpy]",
    ),
    Mutant(
        "dntk/distill/data/_fitted_targets.py",
        "objective=_objective(weights[:, :, 0], reference, y)",
        "objective=_objective((basis.mT @ (basis @ weights))[:, :, 0], reference, y)",
        "the objective is that of other weights where points are of very different sizes",
        FITTED + "test_the_objective_is_that_of_the_weights_where_points_are_of_very_different_sizes",
    ),
    Mutant(
        "dntk/distill/data/_fitted_targets.py",
        "_REFINEMENTS = 4",
        "_REFINEMENTS = 1",
        "targets of tiny features trust singular values that float32 does not know",
        FITTED + "test_a_point_of_tiny_features_beside_a_large_one_is_held_whole[jax]",
    ),
    Mutant(
        "dntk/distill/data/_fitted_targets.py",
        "basis = xp.where(held[:, :, None], vt, xp.zeros_like(vt))",
        "basis = vt",
        "directions that only rounding knows are fitted",
        FITTED + "test_equal_points_are_no_two_directions",
    ),
    Mutant(
        "dntk/estimator/_prediction.py",
        "if products.whole.shape[0] == 1 < model.n_outputs and",
        "if products.whole.shape[0] == 0 < model.n_outputs and",
        "a joint regression predicts output by output",
        FIT + "TestWhatItSays::test_a_prediction_is_one_sweep_for_all_outputs[joint]",
    ),
]
