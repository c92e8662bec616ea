"""Objectives of distilled inputs."""

from property_tests.mutations.mutant import Mutant

TESTS = "property_tests/test_distilled_inputs.py::"
SLOPE = TESTS + "test_slope_of_the_residual_is_that_of_its_definition[numpy]"
LOSSES = TESTS + "test_slopes_of_prediction_losses_are_those_of_their_values[numpy]"

MUTANTS = [
    Mutant(
        "dntk/distill/data/nystrom_residual.py",
        "own = solved @ solved.T + share *",
        "own = solved @ solved.T + 0 *",
        "the damping is taken for constant",
        SLOPE,
    ),
    Mutant(
        "dntk/distill/data/nystrom_residual.py",
        "own = solved @ solved.T + share",
        "own = share",
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
        "return _moved(support, points, weights, self.iterations, 1e-7), weights",
        "return support + points.std(), weights",
        "the points of a weighted barycentre are not the means of what they get",
        TESTS + "test_barycentres_cost_no_more_than_the_mean_of_the_cloud",
    ),
]
