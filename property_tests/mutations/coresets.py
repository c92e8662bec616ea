"""Chosen points: which are picked, what they weigh, and what they leave of the kernel."""

from property_tests.mutations.mutant import Mutant

BEST = (
    "property_tests/test_coresets.py::"
    "test_every_pick_of_a_deterministic_selector_is_the_best_and_follows_a_permutation[numpy]"
)
TRACE = "property_tests/test_nystrom.py::test_residual_trace_is_that_of_the_dense_projection[numpy]"
LEVERAGE = (
    "property_tests/test_ridge_approximate.py::test_leverage_scores_are_those_of_the_kernel_and_fall_with_it[numpy]"
)
CORESETS = "tests/test_coresets.py::"
CHOOSING = "tests/test_choosing.py::"
FARTHEST = "dntk/distill/data/farthest_point.py"
K_MEANS = "dntk/distill/data/k_means.py"
RESIDUAL = "dntk/distill/data/residual_kernel.py"

MUTANTS = [
    Mutant(
        FARTHEST,
        "xp.minimum(nearest, distance)",
        "xp.maximum(nearest, distance)",
        "farthest from the farthest chosen point",
        BEST,
    ),
    Mutant(
        FARTHEST,
        "xp.where(positions == pick, -xp.ones_like(nearest), nearest)",
        "-nearest",
        "the nearest point is taken every other time",
        BEST,
    ),
    Mutant(
        FARTHEST,
        "points.distances(points.mean()) if",
        "points.squared if",
        "the first point is the farthest from zero, not from the mean",
        BEST,
    ),
    Mutant(
        "dntk/distill/data/herding.py",
        "wanted = wanted + mean - features[pick, :]",
        "wanted = wanted + mean + features[pick, :]",
        "herding adds what is there already",
        BEST,
    ),
    Mutant(
        "dntk/distill/data/herding.py",
        "gain = features @ wanted - half_norms",
        "gain = features @ wanted",
        "herding as if all features had one norm",
        BEST,
    ),
    Mutant(
        "dntk/distill/data/leverage.py",
        "(reduced(part) / largest @ vectors) ** 2 / (values + ridge)",
        "(reduced(part) / largest @ vectors) ** 2 / (values + floor)",
        "leverage scores without their ridge",
        LEVERAGE,
    ),
    Mutant(
        "dntk/distill/data/leverage.py",
        "float(self.ridge) / float(largest) ** 2",
        "float(self.ridge) / float(largest)",
        "the ridge of leverage scores scaled as features, not as the kernel",
        LEVERAGE,
    ),
    Mutant(
        "dntk/distill/data/leverage.py",
        "tail = float(xp.sum(values[: max(0, q - self.size)]))",
        "tail = float(xp.sum(values[-self.size :]))",
        "the default ridge from the largest eigenvalues",
        CORESETS + "test_the_default_ridge_is_the_tail_per_point",
    ),
    Mutant(
        "dntk/distill/data/leverage.py",
        "np.min(scores[positive]) / np.where(positive, scores, 1), 0)",
        "scores, 0)",
        "importance weights in proportion to the scores",
        CORESETS + "test_leverage_draws_in_proportion_to_the_scores",
    ),
    Mutant(
        "dntk/distill/data/_lloyd.py",
        "half = xp.sum(centres * centres, axis=1) / 2",
        "half = xp.sum(centres * centres, axis=1) * 0",
        "points go to the centre of the largest product, not to the nearest",
        CORESETS + "test_k_means_is_as_good_as_that_of_scikit_learn",
    ),
    Mutant(
        "dntk/distill/data/_lloyd.py",
        "        centres = xp.concat([means(points, labels, centres)[:free, :], fixed])\n",
        "",
        "centres stay where they were seeded",
        CORESETS + "test_k_means_is_as_good_as_that_of_scikit_learn",
    ),
    Mutant(
        K_MEANS,
        "np.lexsort((distances, labels))",
        "np.lexsort((-distances, labels))",
        "the member farthest from the centre stands for its cluster",
        CORESETS + "test_k_means_finds_separated_clusters_and_weighs_them",
    ),
    Mutant(
        K_MEANS,
        "population[: len(picks)] = sizes[ranked]",
        "population[: len(picks)] = np.sort(sizes[ranked])",
        "weights of the large clusters go to the small",
        CORESETS + "test_k_means_finds_separated_clusters_and_weighs_them",
    ),
    Mutant(
        RESIDUAL,
        "left = xp.clip(self.diagonal - new[:, j] ** 2, min=0)",
        "left = xp.clip(self.diagonal - new[:, j] ** 2 / 2, min=0)",
        "half of what a pick explains is left",
        TRACE,
    ),
    Mutant(
        RESIDUAL,
        "        columns = columns - self._factor.T @ xp.take(self._factor, where, axis=1)\n",
        "",
        "picks explain what others explained before",
        CORESETS + "test_residual_traces_are_right_across_blocks",
    ),
    Mutant(
        RESIDUAL,
        "combine[:, j] = -(combine[:, :j] @ row) / root",
        "combine[:, j] = (combine[:, :j] @ row) / root",
        "picks of one block are added to each other",
        TRACE,
    ),
    Mutant(
        RESIDUAL,
        "return _host(rows @ rows.T - factor.T @ factor)",
        "return _host(rows @ rows.T)",
        "proposals are accepted by the kernel, not by its residual",
        CORESETS + "test_proposals_of_later_rounds_are_judged_by_what_earlier_ones_left",
    ),
    Mutant(
        "dntk/distill/data/rp_cholesky.py",
        "lambda j, left: float(uniform[j]) * block[j, j] < left)",
        "lambda j, left: left > 0)",
        "every proposal is accepted",
        CORESETS + "test_proposals_by_blocks_have_the_law_of_points_drawn_one_by_one",
    ),
    Mutant(
        "dntk/distill/data/rp_cholesky.py",
        "weights = xp.where(diagonal > kernel.noise, diagonal, 0 * diagonal)",
        "weights = xp.where(diagonal > kernel.noise, diagonal**2, 0 * diagonal)",
        "points drawn in proportion to squared residuals",
        CORESETS + "test_proposals_by_blocks_have_the_law_of_points_drawn_one_by_one",
    ),
    Mutant(
        "dntk/distill/data/lcmd.py",
        "left = xp.where(free, nearest, xp.zeros_like(nearest))",
        "left = xp.where(free, xp.ones_like(nearest), xp.zeros_like(nearest))",
        "the largest cluster is that of most points, however near",
        CHOOSING + "test_lcmd_is_that_of_loops_over_points_and_centres[numpy-beside others]",
    ),
    Mutant(
        "dntk/distill/data/lcmd.py",
        "owner = xp.where(closer, xp.full_like(owner, start + step), owner)",
        "owner = xp.where(closer, xp.full_like(owner, step), owner)",
        "clusters of picks are counted with those of given points",
        CHOOSING + "test_lcmd_is_that_of_loops_over_points_and_centres[numpy-beside others]",
    ),
    Mutant(
        "dntk/distill/data/max_det.py",
        "choice.ridge**0.5 * xp.ones(size, **place)",
        "0.0 * xp.ones(size, **place)",
        "picks have no noise",
        CHOOSING + "test_the_gain_of_a_pick_is_the_schur_complement",
    ),
    Mutant(
        "dntk/distill/data/max_det.py",
        "direction = left(row[None, :d])[0, :]",
        "direction = row[:d]",
        "what is given is forgotten after the first pick",
        CHOOSING + "test_the_gain_of_a_pick_is_the_schur_complement",
    ),
    Mutant(
        "dntk/distill/data/given.py",
        "taken = squares / (squares + ridge) / (1 + xp.sqrt(ridge / (squares + ridge)))",
        "taken = squares / (squares + ridge)",
        "labels given are believed twice",
        CHOOSING + "test_the_gain_of_a_pick_is_the_schur_complement",
    ),
    Mutant(
        RESIDUAL,
        "self.features = given.left(self.features)",
        "self.features = self.features",
        "points given leave the kernel as it was",
        CHOOSING + "test_given_points_are_not_chosen_again_and_count_for_what_is_left[numpy-Random]",
    ),
    Mutant(
        "dntk/distill/data/random.py",
        "order = order[~np.isin(order, known.positions)]",
        "order = order[np.argsort(~np.isin(order, known.positions), kind='stable')]",
        "given points are drawn first",
        CHOOSING + "test_given_points_are_not_chosen_again_and_count_for_what_is_left[numpy-Random]",
    ),
    Mutant(
        "dntk/distill/data/_lloyd.py",
        "centres = xp.concat([means(points, labels, centres)[:free, :], fixed])",
        "centres = means(points, labels, centres)",
        "given centres move",
        CHOOSING + "test_given_centres_of_k_means_stay_where_they_are",
    ),
]
