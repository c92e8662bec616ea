"""Objectives of distilled inputs."""

from property_tests.mutations.mutant import Mutant

TESTS = "property_tests/test_distilled_inputs.py::"
SLOPE = TESTS + "test_slope_of_the_residual_is_that_of_its_definition[numpy]"
LOSSES = TESTS + "test_slopes_of_prediction_losses_are_those_of_their_values[numpy]"
STILL = "tests/test_distilled_inputs.py::"

LEADING = "tests/test_leading_directions.py::"

WHOLE = STILL + "TestDerivatives::test_the_first_step_goes_along_the_slope_of_the_whole_objective[OutputResidual]"

MUTANTS = [
    Mutant(
        "dntk/distill/data/output_regressions.py",
        "damping = 2 * self.share *",
        "damping = 0 * self.share *",
        "the damping of separate regressions is taken for constant",
        WHOLE,
    ),
    Mutant(
        "dntk/distill/data/output_residual.py",
        "self.tangents.pull_each(x, phi, in_features) + pull_observed(seen, in_outputs, {})",
        "self.tangents.pull_each(x, phi, in_features)",
        "targets stand still where their inputs move",
        WHOLE,
    ),
    Mutant(
        "dntk/distill/data/output_residual.py",
        "held = fit.error(self.held)",
        "held = fit.error(self.points)",
        "the error is judged on the points that are fitted to",
        "tests/test_output_residual.py::"
        "test_the_loss_is_the_error_of_separate_regressions_and_is_judged_on_what_is_held_out",
    ),
    Mutant(
        "dntk/distill/data/nystrom_residual.py",
        "scale = 2 / _nonzero(goal.trace)",
        "scale = 1 / _nonzero(goal.trace)",
        "the slope of squares has no factor two",
        SLOPE,
    ),
    Mutant(
        "dntk/distill/data/tangent_residual.py",
        "trace=Goal.of(joined).trace)",
        "trace=Goal.of(leading.rows(most)).trace)",
        "what the leading directions lack is not left",
        LEADING + "test_all_points_are_fitted_to_by_their_leading_directions_and_what_these_lack_is_left",
    ),
    Mutant(
        "dntk/distill/data/leading_directions.py",
        "vectors=xp.flip(vectors, axis=1))",
        "vectors=vectors)",
        "directions are those that hold least",
        LEADING + "test_rows_are_the_best_of_their_number_and_coordinates_keep_the_kernel[numpy]",
    ),
    Mutant(
        "dntk/distill/data/tangent_residual.py",
        "size = own.batch_size or (MINIBATCH if n > AT_ONCE else n)",
        "size = own.batch_size or n",
        "every step takes all points, however many",
        LEADING + "test_more_points_than_fit_at_once_come_in_minibatches",
    ),
    Mutant(
        "dntk/distill/data/nystrom_residual.py",
        "own = solved @ solved.T + self.share *",
        "own = solved @ solved.T + 0 *",
        "the damping is taken for constant",
        SLOPE,
    ),
    Mutant(
        "dntk/distill/data/nystrom_residual.py",
        "own = solved @ solved.T + self.share",
        "own = self.share",
        "the slope forgets what is explained",
        SLOPE,
    ),
    Mutant(
        "dntk/distill/data/nystrom_residual.py",
        "share = max(ridge, 8 * m * arrays.epsilon(gram)) / m",
        "share = max(ridge, 8 * m * arrays.epsilon(gram))",
        "the damping grows with the number of inputs",
        TESTS + "test_residual_is_between_the_pca_tail_and_everything[numpy]",
    ),
    Mutant(
        "dntk/distill/data/prediction_losses.py",
        "return loss, slope * factor,",
        "return loss, slope,",
        "the slope of a scaled loss has no scale",
        LOSSES,
    ),
    Mutant(
        "dntk/distill/data/prediction_losses.py",
        "return float(xp.sum(error * error)) / (2 * n), error / n, {}",
        "return float(xp.sum(error * error)) / (2 * n), error, {}",
        "the slope of the squared error is of the sum, not of the mean",
        LOSSES,
    ),
    Mutant(
        "dntk/distill/data/barycentres.py",
        "nearest = np.argmin(squared_distances(support, points), axis=0)",
        "nearest = np.argmax(squared_distances(support, points), axis=0)",
        "mass of a barycentre goes to the farthest points",
        "tests/test_distilled_inputs.py::TestBarycentres::test_weights_are_the_best_that_the_points_can_have_where_they_stand",
    ),
    Mutant(
        "dntk/distill/data/barycentres.py",
        "return _moved(support, points, weights, self.iterations, 1e-7), weights",
        "return support + points.std(), weights",
        "the points of a weighted barycentre are not the means of what they get",
        TESTS + "test_barycentres_cost_no_more_than_the_mean_of_the_cloud",
    ),
    Mutant(
        "dntk/distill/data/tangent_residual.py",
        "left = inducing.left(self.held)",
        "left = inducing.left(self._goal(step))",
        "the residual is judged on its own minibatch",
        STILL + "test_the_residual_falls_on_minibatches_and_is_judged_on_what_is_held_out",
    ),
    Mutant(
        "dntk/distill/data/kernel_inducing.py",
        "own.loss.value(fit.predict(self.held), self.held_targets, learned)",
        "own.loss.value(fit.predict(points), goals, learned)",
        "the inducing loss is judged on its own minibatch",
        STILL + "test_the_inducing_loss_falls_on_minibatches_and_is_judged_on_what_is_held_out",
    ),
    Mutant(
        "dntk/distill/data/tangent_residual.py",
        "seed=own.seed, step=step)",
        "seed=own.seed, step=0)",
        "the residual is taken on the same minibatch at every step",
        STILL + "test_the_residual_falls_on_minibatches_and_is_judged_on_what_is_held_out",
    ),
    Mutant(
        "dntk/distill/data/kernel_inducing.py",
        "seed=own.seed, step=step)",
        "seed=own.seed, step=0)",
        "the inducing loss is taken on the same minibatch at every step",
        STILL + "test_the_inducing_loss_falls_on_minibatches_and_is_judged_on_what_is_held_out",
    ),
    Mutant(
        "dntk/distill/data/draws.py",
        'stream=f"minibatch-{step}"',
        'stream="minibatch"',
        "every step draws the same minibatch",
        "tests/test_distilled_inputs.py::test_every_step_draws_its_own_minibatch_and_the_same_one_again",
    ),
    Mutant(
        "dntk/distill/data/adam.py",
        "learning_rate / (1 - slow**number)",
        "learning_rate",
        "Adam without the correction of its first average",
        "tests/test_input_gradients.py::test_adam_is_that_of_pytorch",
    ),
    Mutant(
        "dntk/distill/data/adam.py",
        "xp.sqrt(second / (1 - fast**number)) + self.epsilon",
        "xp.sqrt(second) + self.epsilon",
        "Adam without the correction of its second average",
        "tests/test_input_gradients.py::test_adam_is_that_of_pytorch",
    ),
]
