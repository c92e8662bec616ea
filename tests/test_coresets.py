import dataclasses

import numpy as np
import pytest

import dntk
from dntk.distill.data import LCMD, Balanced, FarthestPoint, Herding, KMeans, Leverage, MaxDet, Random, RPCholesky
from dntk.distill.data._lloyd import clusters
from dntk.distill.data.residual_kernel import eliminate
from tests.libraries import LIBRARIES, host
from tests.networks import features

NUMPY = LIBRARIES[0]
SELECTORS = [Random, RPCholesky, FarthestPoint, Herding, KMeans, Leverage, LCMD, MaxDet]
# Functions of the features and the seed alone.
SEEDED = [Random, RPCholesky, FarthestPoint, Herding, Leverage, LCMD, MaxDet]


def _residual(kernel: np.ndarray, chosen: list[int]) -> float:
    """tr(K − K_Nyström) by a pseudo-inverse in float64."""
    columns = kernel[:, chosen]
    return float(np.trace(kernel - columns @ np.linalg.pinv(kernel[np.ix_(chosen, chosen)], rcond=1e-10) @ columns.T))


def gaussian(n=120, d=30, seed=0, decay=1.0):
    """Features in float64 with singular values about decay^i."""
    values = np.random.default_rng(seed).normal(size=(n, d)) * decay ** np.arange(d)
    return dntk.TangentFeatures(values[None])


@pytest.mark.parametrize("selector", SELECTORS)
def test_residual_trace_after_each_pick_is_that_of_the_nystrom_kernel(library, selector):
    phi = features(library, decay=0.9)
    found = selector(6).select(phi)
    chosen = [int(i) for i in host(found.indices)]
    assert len(set(chosen)) == len(found) == 6
    kernel = host(phi.kernel()).astype("f8")
    expected = [_residual(kernel, chosen[: i + 1]) for i in range(6)]
    np.testing.assert_allclose(host(found.residual_trace), expected, atol=1e-5 * np.trace(kernel))
    assert found.trace == pytest.approx(np.trace(kernel), rel=1e-5)
    for made in (found.weights, found.residual_trace):
        assert made.dtype == phi.values.dtype
        assert dntk.arrays.device_of(made) == dntk.arrays.device_of(phi.values)
    assert np.mean(host(found.weights)) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    "selector", [Random(150), RPCholesky(150), RPCholesky(150, block=16), FarthestPoint(150)], ids=repr
)
def test_residual_traces_are_right_across_blocks(selector):
    """Against orthogonal projections in the order of the picks: R = F(I − QQᵀ), F_Sᵀ = QR."""
    phi = gaussian(200, 180, decay=0.97)
    found = selector.select(phi)
    basis, _ = np.linalg.qr(phi.values[0][found.indices].T)
    expected = found.trace - np.cumsum(np.sum((phi.values[0] @ basis) ** 2, axis=0))
    np.testing.assert_allclose(found.residual_trace, expected, atol=1e-10 * found.trace)
    assert len(set(found.indices.tolist())) == 150


@pytest.mark.parametrize("selector", SEEDED)
def test_the_same_seed_chooses_the_same_points_on_every_library(library, selector):
    expected = selector(5).select(features(NUMPY, decay=0.9)).indices
    np.testing.assert_array_equal(host(selector(5).select(features(library, decay=0.9)).indices), expected)


def test_rp_cholesky_is_better_than_uniform_choice_on_clustered_points():
    rng = np.random.default_rng(0)
    rare = np.concatenate([np.repeat(rng.normal(size=(1, 30)), 190, axis=0), 3 * np.eye(10, 30)])
    phi = dntk.TangentFeatures(rare[None] + 1e-3 * rng.normal(size=(1, 200, 30)))
    adaptive = np.mean([RPCholesky(11, seed=s).select(phi).residual_trace[-1] for s in range(10)])
    uniform = np.mean([Random(11, seed=s).select(phi).residual_trace[-1] for s in range(10)])
    assert adaptive < uniform / 5


@pytest.mark.parametrize("selector", SELECTORS)
def test_an_exhausted_kernel_is_filled_up_without_repeats(library, selector):
    values = np.concatenate([np.eye(3), np.eye(3), np.zeros((4, 3))])[None].astype("f4")
    found = selector(10).select(dntk.TangentFeatures(library.array(values)))
    assert sorted(int(i) for i in host(found.indices)) == list(range(10))
    assert host(found.residual_trace)[-1] == 0
    if selector in (RPCholesky, FarthestPoint, LCMD, MaxDet):  # no duplicate, no zero row while another is left
        assert host(found.residual_trace)[2] == 0


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_kernel_of_zeros_is_covered_by_any_points(selector):
    found = selector(3).select(dntk.TangentFeatures(np.zeros((2, 5, 4))))
    assert len(set(found.indices.tolist())) == 3
    assert found.trace == 0
    np.testing.assert_array_equal(found.residual_trace, 0)
    assert np.mean(found.weights) == pytest.approx(1)


@pytest.mark.parametrize("selector", SELECTORS)
def test_one_point_of_one_is_chosen(selector):
    found = selector(1).select(dntk.TangentFeatures(np.ones((1, 1, 3))))
    assert found.indices.tolist() == [0]
    assert found.residual_trace.tolist() == [0]


@pytest.mark.parametrize("selector", [RPCholesky, FarthestPoint, KMeans, LCMD, MaxDet])
def test_no_copy_of_a_chosen_point_is_chosen_while_others_are_left(selector):
    distinct = np.random.default_rng(1).normal(size=(12, 20))
    values = np.tile(distinct, (5, 1))[None].astype("f4")
    found = selector(12).select(dntk.TangentFeatures(values))
    assert sorted(int(i) % 12 for i in host(found.indices)) == list(range(12))


@pytest.mark.parametrize("scale", [1e-10, 1e10])
def test_k_means_clusters_features_of_any_scale(scale):
    phi = features(NUMPY, decay=0.9)
    found = KMeans(6).select(dntk.TangentFeatures(phi.values * scale))
    assert len(set(host(found.indices).tolist())) == 6
    assert np.all(np.isfinite(host(found.residual_trace)))


@pytest.mark.parametrize(
    "make",
    [
        lambda size: Random(size, seed=2),
        lambda size: RPCholesky(size, seed=2, block=7),
        FarthestPoint,
        Herding,
        LCMD,
        lambda size: MaxDet(size, ridge=0.1),
        lambda size: Leverage(size, seed=2, ridge=0.1, dim=8),
        lambda size: Balanced(RPCholesky(size, seed=2), np.arange(120) % 4),
    ],
    ids=["random", "rp-cholesky", "farthest", "herding", "lcmd", "max-det", "leverage", "balanced"],
)
def test_a_larger_choice_begins_with_the_smaller(make):
    phi = gaussian(decay=0.8)
    whole, part = make(40).select(phi), make(23).select(phi)
    np.testing.assert_array_equal(whole.indices[:23], part.indices)
    np.testing.assert_allclose(whole.residual_trace[:23], part.residual_trace, atol=1e-13 * whole.trace)
    cut = whole.first(23)
    np.testing.assert_array_equal(cut.indices, part.indices)
    assert len(cut) == len(cut.weights) == len(cut.residual_trace) == 23
    with pytest.raises(ValueError, match="at most 40"):
        whole.first(41)


@pytest.mark.parametrize("block", [2, 64])
def test_proposals_by_blocks_have_the_law_of_points_drawn_one_by_one(block):
    """Pairs of picks of five points against their exact probabilities, by Pearson's statistic."""
    rows = np.array([[2.0, 0, 0], [1.5, 1.0, 0], [0, 1.0, 0.5], [0, 0, 1.0], [0.5, 0.5, 0.5]])
    kernel = rows @ rows.T
    expected = np.zeros((5, 5))
    for i in range(5):
        rest = np.diag(kernel) - kernel[i] ** 2 / kernel[i, i]
        rest[i] = 0
        expected[i] = kernel[i, i] / np.trace(kernel) * rest / np.sum(rest)
    phi, draws, seen = dntk.TangentFeatures(rows[None]), 1500, np.zeros((5, 5))
    for seed in range(draws):
        first, second = RPCholesky(2, seed=seed, block=block).select(phi).indices
        seen[first, second] += 1
    possible = expected > 1e-12
    assert np.sum(seen[~possible]) == 0
    statistic = np.sum((seen[possible] - draws * expected[possible]) ** 2 / (draws * expected[possible]))
    from scipy.stats import chi2

    assert statistic < chi2.isf(1e-6, np.sum(possible) - 1)


def test_proposals_of_later_rounds_are_judged_by_what_earlier_ones_left(monkeypatch):
    """Points nearly parallel, whose residuals after one pick are not: a round refuses repetitions and little else."""
    from dntk.distill.data import residual_kernel

    rounds = []
    plain = residual_kernel.ResidualKernel.add
    monkeypatch.setattr(residual_kernel.ResidualKernel, "add", lambda self, p: rounds.append(len(p)) or plain(self, p))
    RPCholesky(30, block=8).select(dntk.TangentFeatures((100 + np.eye(80))[None]))
    assert sum(rounds) == 30
    assert len(rounds) < 12  # by the kernel itself nearly all but the first of a round would be refused


def test_rp_cholesky_reads_the_features_once_per_block_and_never_makes_a_kernel_matrix(monkeypatch):
    """Shapes of all products of one selection: none is n × n, and rounds are few."""
    from dntk.distill.data import residual_kernel

    rounds = []
    plain = residual_kernel.ResidualKernel.add
    monkeypatch.setattr(residual_kernel.ResidualKernel, "add", lambda self, p: rounds.append(len(p)) or plain(self, p))
    RPCholesky(60, block=40).select(gaussian(400, 200))
    assert sum(rounds) == 60
    assert len(rounds) < 15  # one by one it would be 60


def test_farthest_points_cover_within_twice_the_best_radius():
    """Gonzalez's bound against all subsets of nine points."""
    import itertools

    phi = gaussian(9, 2, seed=5)
    points = phi.values[0]
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    for size in (1, 2, 3, 4):
        radius = np.max(np.min(distance[:, FarthestPoint(size).select(phi).indices], axis=1))
        best = min(np.max(np.min(distance[:, c], axis=1)) for c in itertools.combinations(range(9), size))
        assert radius <= 2 * best * (1 + 1e-12)


def test_farthest_points_take_copies_in_the_order_of_the_data_when_nothing_else_is_left():
    distinct = np.random.default_rng(1).normal(size=(12, 20))
    picks = FarthestPoint(60).select(dntk.TangentFeatures(np.tile(distinct, (5, 1))[None])).indices.tolist()
    assert sorted(i % 12 for i in picks[:12]) == list(range(12))
    assert picks[12:] == sorted(picks[12:])


def test_farthest_points_are_those_of_a_dense_search():
    phi = gaussian(40, 6)
    points = phi.values[0]
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = [int(np.argmax(np.linalg.norm(points - points.mean(0), axis=1)))]
    for _ in range(9):
        expected.append(int(np.argmax(np.min(distance[:, expected], axis=1))))
    assert FarthestPoint(10).select(phi).indices.tolist() == expected


def test_herding_minimises_the_discrepancy_at_every_pick():
    phi = gaussian(40, 6)
    points, chosen = phi.values[0], []
    for pick in Herding(10).select(phi).indices:
        rest = [i for i in range(40) if i not in chosen]
        gaps = [np.linalg.norm(points.mean(0) - points[[*chosen, i]].mean(0)) for i in rest]
        assert rest[int(np.argmin(gaps))] == pick
        chosen.append(int(pick))


def test_k_means_finds_separated_clusters_and_weighs_them():
    rng = np.random.default_rng(0)
    sizes, centres = [50, 30, 20], 10 * np.eye(3, 8)
    labels = np.repeat(np.arange(3), sizes)
    points = centres[labels] + 0.1 * rng.normal(size=(100, 8))
    found = KMeans(3, seed=1).select(dntk.TangentFeatures(points[None]))
    assert [int(labels[i]) for i in found.indices] == [0, 1, 2]  # the largest cluster first
    np.testing.assert_allclose(found.weights, np.array(sizes) * 3 / 100)
    for index, label in zip(found.indices, range(3), strict=True):
        members = points[labels == label]
        distances = np.linalg.norm(members - members.mean(0), axis=1)
        chosen = np.linalg.norm(points[index] - members.mean(0))
        # Mini-batches leave the centre within a standard error or so of the mean of the members.
        assert chosen <= np.min(distances) + 4 * 0.1 * np.sqrt(8 / len(members))


def test_k_means_on_a_sketch_finds_the_clusters_and_the_members_nearest_to_their_means(library):
    """Points of 3,000 numbers, in clusters farther apart than a sketch of 1,024 can confuse."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(5), [30, 25, 20, 15, 10])
    points = (rng.normal(size=(5, 3000))[labels] + 0.3 * rng.normal(size=(100, 3000))).astype("f4")
    found = KMeans(5, seed=1).select(dntk.TangentFeatures(library.array(points[None], "f4")))
    chosen = [int(i) for i in host(found.indices)]
    assert [int(labels[i]) for i in chosen] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(host(found.weights), np.array([30, 25, 20, 15, 10]) / 20, rtol=1e-6)
    for cluster, i in enumerate(chosen):
        members = np.flatnonzero(labels == cluster)
        distances = np.linalg.norm(points[members] - points[members].mean(0), axis=1)
        # The largest and the smallest differ by about 3%: rounding of float32 is far below.
        assert np.linalg.norm(points[i] - points[members].mean(0)) <= np.min(distances) * (1 + 1e-5)


def test_k_means_is_as_good_as_that_of_scikit_learn():
    rng = np.random.default_rng(4)
    points = (rng.normal(size=(40, 12)) @ rng.normal(size=(12, 60)))[rng.integers(40, size=600)]
    points = np.tanh(points / 4 + 0.5 * rng.normal(size=points.shape))
    from sklearn.cluster import KMeans as Theirs

    labels = clusters(points, 30, seed=0)
    own = sum(np.sum((points[labels == c] - points[labels == c].mean(0)) ** 2) for c in np.unique(labels))
    best = min(Theirs(30, n_init=1, random_state=seed).fit(points).inertia_ for seed in range(3))
    assert own <= 1.03 * best


def test_leverage_scores_are_those_of_dense_linear_algebra(library):
    phi = features(library, decay=0.9)
    kernel = host(phi.kernel()).astype("f8")
    n = len(kernel)
    ridge = 0.05 * np.trace(kernel) / n
    expected = np.diag(kernel @ np.linalg.inv(kernel + ridge * np.eye(n)))
    found = host(Leverage(4, ridge=ridge).scores(phi))
    # eigh of the float32 Gram matrix, perturbed by c·eps·‖K‖: scores change by (‖K‖/λ)·c·eps, c = 4n.
    kappa = np.linalg.norm(kernel, 2) / ridge
    np.testing.assert_allclose(found, expected, atol=4 * n * 2**-23 * kappa)


def test_the_default_ridge_is_the_tail_per_point():
    phi = gaussian(60, 20, decay=0.8)
    values = np.linalg.svd(phi.values[0], compute_uv=False) ** 2
    ridge = np.sum(values[5:]) / 5
    np.testing.assert_allclose(Leverage(5).scores(phi), Leverage(5, ridge=ridge).scores(phi), rtol=1e-10)
    assert np.sum(Leverage(5).scores(phi)) <= 2 * 5


def test_sketched_leverage_scores_are_near_the_exact_ones():
    phi = gaussian(80, 600, decay=0.98)
    exact = Leverage(5, dim=600, ridge=50.0).scores(phi)
    sketched = Leverage(5, dim=400, ridge=50.0).scores(phi)
    # A subspace embedding with distortion ε of rank d_λ: (1 − ε)/(1 + ε) to its inverse; ε = 2√(d_λ/k) + d_λ/k.
    ratio = np.sum(exact) / 400
    epsilon = 2 * ratio**0.5 + ratio
    assert epsilon < 0.8
    assert np.all(sketched <= exact * (1 + epsilon) / (1 - epsilon))
    assert np.all(sketched >= exact * (1 - epsilon) / (1 + epsilon))
    assert np.max(np.abs(sketched - exact)) > 1e-6  # it was sketched


def test_leverage_draws_in_proportion_to_the_scores():
    rows = np.diag([3.0, 2.0, 1.0, 0.5])
    phi, draws, ridge = dntk.TangentFeatures(rows[None]), 2000, 2.0
    scores = np.diag(rows) ** 2 / (np.diag(rows) ** 2 + ridge)
    first = [int(Leverage(1, seed=s, ridge=ridge).select(phi).indices[0]) for s in range(draws)]
    share = scores / np.sum(scores)
    # Binomial: five standard deviations, failure probability 6e-7 for a draw that is fixed by its seeds.
    assert np.all(np.abs(np.bincount(first, minlength=4) / draws - share) < 5 * np.sqrt(share * (1 - share) / draws))
    weights = Leverage(4, ridge=ridge).select(phi)
    np.testing.assert_allclose(weights.weights * scores[weights.indices] * np.mean(1 / scores), 1, rtol=1e-12)


@pytest.mark.parametrize("selector", [RPCholesky, KMeans, Herding])
def test_balanced_choices_have_as_many_points_of_every_class(library, selector):
    phi = features(library, decay=0.9)
    labels = np.array([7, 3, 3, 7, 9, 3, 9, 7, 9, 3] * 2)
    found = Balanced(selector(8), library.array(labels)).select(phi)
    chosen = [int(i) for i in host(found.indices)]
    assert len(set(chosen)) == 8
    assert [int(np.sum(labels[chosen] == c)) for c in (3, 7, 9)] == [3, 3, 2]
    assert sorted(labels[chosen[:3]]) == sorted(labels[chosen[3:6]]) == [3, 7, 9]  # they take turns
    kernel = host(phi.kernel()).astype("f8")
    expected = [_residual(kernel, chosen[: i + 1]) for i in range(8)]
    np.testing.assert_allclose(host(found.residual_trace), expected, atol=1e-5 * np.trace(kernel))


def test_balanced_points_are_those_of_the_selector_within_each_class():
    phi = gaussian(90, 12)
    labels = np.arange(90) % 3
    found = Balanced(Herding(9), labels).select(phi)
    for c in range(3):
        members = np.flatnonzero(labels == c)
        within = Herding(3).select(phi[members]).indices
        np.testing.assert_array_equal(found.indices[labels[found.indices] == c], members[within])


def test_weights_of_balanced_points_restore_the_shares_of_the_classes():
    labels = np.repeat([0, 1], [30, 10])
    found = Balanced(Random(8), labels).select(gaussian(40, 5))
    sums = [np.sum(found.weights[labels[found.indices] == c]) for c in (0, 1)]
    np.testing.assert_allclose(sums, [6, 2])


def test_a_balanced_choice_is_one_for_the_pipeline():
    selector = Balanced(RPCholesky(6), np.arange(20) % 2)
    assert isinstance(selector, dntk.distill.data.DataSelector)
    assert selector.size == 6


@pytest.mark.usefixtures("unchecked")
def test_labels_that_cannot_be_balanced_are_refused():
    phi = features(NUMPY)
    with pytest.raises(
        ValueError, match="class 1 has 2 points, but 3 are asked of each class: pass a size of at most 4"
    ):
        Balanced(Random(6), np.array([0] * 18 + [1] * 2)).select(phi)
    with pytest.raises(ValueError, match="cannot be balanced over 20 classes"):
        Balanced(Random(6), np.arange(20)).select(phi)
    with pytest.raises(ValueError, match="has 19 entries, but there are 20 points"):
        Balanced(Random(6), np.arange(19)).select(phi)
    with pytest.raises(TypeError, match="expected integer classes"):
        Balanced(Random(6), np.ones(20)).select(phi)
    with pytest.raises(TypeError, match="a dataclass with a field `size`"):
        Balanced(object(), np.arange(20))
    with pytest.raises(TypeError, match="a dataclass with a field `size`"):
        Balanced(Balanced(Random(4), np.arange(20)), np.arange(20))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("selector", SELECTORS)
def test_more_points_than_there_are_or_none_are_refused(selector):
    with pytest.raises(ValueError, match="at most 20"):
        selector(21).select(features(NUMPY))
    with pytest.raises(ValueError, match="positive integer"):
        selector(0).select(features(NUMPY))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "make",
    [
        lambda: RPCholesky(3, block=0),
        lambda: RPCholesky(3, block=2.0),
        lambda: RPCholesky(3, seed=-1),
        lambda: Leverage(3, ridge=0.0),
        lambda: Leverage(3, ridge=float("nan")),
        lambda: Leverage(3, dim=0),
        lambda: KMeans(3, seed=2.5),
    ],
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="must be an? "):
        make()


@pytest.mark.parametrize("selector", SELECTORS)
def test_selectors_are_values(selector):
    assert selector(3) == selector(3)
    assert dataclasses.replace(selector(3), size=4).size == 4


def test_elimination_at_another_power_of_two_is_the_same_to_the_bit():
    for left in np.random.default_rng(0).uniform(1, 4, 10_000):
        here, there = (eliminate(np.array([[left * 4.0**power]]), 0.0)[0][0, 0] for power in (0, 33))
        assert there * 2.0**33 == here


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("value", [None, np.ones((3, 6, 5)), [1.0]])
def test_choices_by_class_take_features_alone(value):
    with pytest.raises(TypeError, match=r"`phi` is .*expected dntk.TangentFeatures"):
        Balanced(Random(3), np.arange(6) % 3).select(value)
