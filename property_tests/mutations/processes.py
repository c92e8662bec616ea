"""Gaussian processes: variances, likelihoods, and whether beliefs are honest."""

from property_tests.mutations.mutant import Mutant

TESTS = "tests/test_gaussian_process.py::"
POSTERIOR = TESTS + "test_posterior_and_likelihood_are_those_of_scikit_learn"
MAXIMISED = TESTS + "test_the_marginal_likelihood_is_maximised"
HONEST = TESTS + "test_honest_beliefs_are_calibrated_and_overconfident_ones_are_not[numpy]"
PROCESS = "dntk/solve/_gaussian_process.py"
LIKELIHOOD = "dntk/solve/marginal_likelihood.py"
CALIBRATION = "dntk/solve/calibration.py"

MUTANTS = [
    Mutant(
        PROCESS,
        "xp.sum(block * block, axis=2) - xp.sum(scores * scores, axis=2)",
        "xp.sum(block * block, axis=2) + xp.sum(scores * scores, axis=2)",
        "points seen raise the variance",
        POSTERIOR + "[numpy-dual]",
    ),
    Mutant(
        PROCESS,
        "return self.ridge * xp.sum(scores * scores, axis=2)",
        "return xp.sum(scores * scores, axis=2)",
        "the primal's variance without λ",
        POSTERIOR + "[numpy-primal]",
    ),
    Mutant(
        PROCESS,
        "log_det = 2 * xp.sum(",
        "log_det = xp.sum(",
        "log det of the factor taken for that of the system",
        POSTERIOR + "[numpy-dual]",
    ),
    Mutant(
        PROCESS,
        " - d * math.log(total)",
        "",
        "log det of the primal's system taken for that of K + λI",
        POSTERIOR + "[numpy-primal]",
    ),
    Mutant(
        PROCESS,
        "xp.sum(rest * rest, axis=1) + xp.sum(w * w, axis=1)",
        "xp.sum(rest * rest, axis=1)",
        "yᵀ(K + λ)⁻¹y without ‖w‖²",
        POSTERIOR + "[numpy-dual]",
    ),
    Mutant(
        PROCESS,
        "noise=xp.astype(self.signal * self.ridge",
        "noise=xp.astype(0 * self.signal + self.ridge",
        "noise not in units of the signal",
        POSTERIOR + "[numpy-dual]",
    ),
    Mutant(
        PROCESS,
        "scale = quadratic / n if signal is None",
        "scale = quadratic / d if signal is None",
        "the signal estimated over features, not points",
        TESTS + "test_the_signal_at_a_given_noise_has_the_largest_likelihood",
    ),
    Mutant(
        LIKELIHOOD,
        " + self.rest / ridge\n",
        "\n",
        "what lies outside the features costs no likelihood",
        MAXIMISED,
    ),
    Mutant(
        LIKELIHOOD,
        " + (self.points - e.shape[1]) * math.log(ridge)\n",
        "\n",
        "log det of directions outside the features left out",
        MAXIMISED,
    ),
    Mutant(
        LIKELIHOOD,
        "spread = quadratic / self.signal",
        "spread = self.points * np.log(quadratic)",
        "a given signal is ignored when λ is chosen",
        MAXIMISED,
    ),
    Mutant(
        LIKELIHOOD,
        "if profile(math.exp(left)) >= profile(math.exp(right)):",
        "if profile(math.exp(left)) < profile(math.exp(right)):",
        "golden section goes away from the maximum",
        TESTS + "test_the_marginal_likelihood_is_maximised",
    ),
    Mutant(
        CALIBRATION,
        "ndtri((1 + level) / 2)",
        "ndtri(level)",
        "one-sided quantiles for central intervals",
        HONEST,
    ),
    Mutant(
        CALIBRATION,
        "xp.log(2 * math.pi * variance) + (targets - posterior.mean) ** 2 / variance",
        "xp.log(2 * math.pi * variance) + (targets - posterior.mean) ** 2",
        "densities at unit variance",
        HONEST,
    ),
]
