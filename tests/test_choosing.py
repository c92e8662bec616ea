"""Points chosen beside others that are there already."""

import numpy as np
import pytest

import dntk
from dntk.distill.data import (
    LCMD,
    Balanced,
    FarthestPoint,
    GivenPoints,
    Herding,
    KMeans,
    LastLayer,
    Leverage,
    MaxDet,
    Random,
    RPCholesky,
)
from dntk.distill.data.last_layer import last_layer_features
from tests.libraries import LIBRARIES, host
from tests.networks import features, mlp

NUMPY = LIBRARIES[0]
SELECTORS = [Random, RPCholesky, FarthestPoint, Herding, KMeans, Leverage, LCMD, MaxDet]
GREEDY = [FarthestPoint, LCMD, MaxDet, lambda size: MaxDet(size, ridge=0.4)]
IDS = ["farthest", "lcmd", "max-det", "max-det with noise"]


def gaussian(n=60, d=8, seed=0, decay=0.8):
    values = np.random.default_rng(seed).normal(size=(n, d)) * decay ** np.arange(d)
    return dntk.TangentFeatures(values[None])


def chosen(selection) -> list[int]:
    return [int(i) for i in host(selection.indices)]


def lcmd_by_hand(points: np.ndarray, size: int, given: list[int]) -> list[int]:
    """Assignments, sums and distances by loops over all points, centres and picks."""
    centres = list(given)
    for _ in range(size):
        rest = [i for i in range(len(points)) if i not in centres]
        if not centres:
            centres.append(max(rest, key=lambda i: np.sum(points[i] ** 2)))
            continue
        cluster: dict[int, list[tuple[float, int]]] = {c: [] for c in centres}
        for i in rest:
            away = [np.sum((points[i] - points[c]) ** 2) for c in centres]
            cluster[centres[int(np.argmin(away))]].append((min(away), -i))
        worst = max(centres, key=lambda c: sum(d for d, _ in cluster[c]))
        centres.append(-max(cluster[worst])[1])
    return centres[len(given) :]


def max_det_by_hand(kernel: np.ndarray, size: int, given: list[int], ridge: float) -> list[int]:
    """The point with which det(K(S, S) + λI) is largest, by determinants of every candidate."""
    centres = list(given)
    for _ in range(size):
        rest = [i for i in range(len(kernel)) if i not in centres]
        sets = [[*centres, i] for i in rest]
        sizes = [np.linalg.slogdet(kernel[np.ix_(s, s)] + ridge * np.eye(len(s)))[1] for s in sets]
        centres.append(rest[int(np.argmax(sizes))])
    return centres[len(given) :]


@pytest.mark.parametrize("given", [[], [5, 31, 2]], ids=["afresh", "beside others"])
def test_lcmd_is_that_of_loops_over_points_and_centres(library, given):
    phi = features(library, decay=0.9)
    points = host(phi.joined()).astype("f8")
    given = [i % len(points) for i in given]
    assert chosen(LCMD(7).select(phi, given=given)) == lcmd_by_hand(points, 7, given)
    wide = gaussian()
    assert chosen(LCMD(25).select(wide, given=given)) == lcmd_by_hand(wide.values[0], 25, given)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("given", [[], [5, 31, 2]], ids=["afresh", "beside others"])
def test_max_det_makes_the_determinant_as_large_as_any_point_can(library, given, ridge):
    phi = features(library, decay=0.9)
    kernel = host(phi.kernel()).astype("f8")
    given = [i % len(kernel) for i in given]
    scaled = ridge * np.trace(kernel) / len(kernel)
    assert chosen(MaxDet(6, ridge=scaled).select(phi, given=given)) == max_det_by_hand(kernel, 6, given, scaled)


def test_the_gain_of_a_pick_is_the_schur_complement():
    """det(K(S ∪ x) + λI) / det(K(S) + λI) of a pick is the posterior variance of dense algebra, the largest of all."""
    phi, ridge, given = gaussian(40, 12), 0.2, [7, 3]
    kernel = phi.values[0] @ phi.values[0].T
    picks = chosen(MaxDet(9, ridge=ridge).select(phi, given=given))
    assert picks == max_det_by_hand(kernel, 9, given, ridge)
    for step in range(9):
        known = [*given, *picks[:step]]
        inverse = np.linalg.inv(kernel[np.ix_(known, known)] + ridge * np.eye(len(known)))
        variance = np.diag(kernel) - np.sum(kernel[:, known] @ inverse * kernel[:, known], axis=1)
        variance[known] = -1
        assert variance[picks[step]] == pytest.approx(np.max(variance), rel=1e-12)


@pytest.mark.parametrize("ridge", [1e-14, 1e3])
def test_extreme_noise_leaves_the_limits_of_the_choice(ridge):
    phi = gaussian(50, 20)
    norms = np.sum(phi.values[0] ** 2, axis=1)
    expected = chosen(MaxDet(8).select(phi)) if ridge < 1 else np.argsort(-norms)[:8].tolist()
    assert chosen(MaxDet(8, ridge=ridge * np.max(norms)).select(phi)) == expected


@pytest.mark.parametrize("selector", SELECTORS)
def test_given_points_are_not_chosen_again_and_count_for_what_is_left(library, selector):
    phi = features(library, decay=0.9)
    kernel, given = host(phi.kernel()).astype("f8"), [2, 11, 7, 19]
    found = selector(6).select(phi, given=library.array(np.array(given)))
    picks = chosen(found)
    assert len({*picks, *given}) == 10
    for size, told in enumerate(host(found.residual_trace), start=1):
        known = [*given, *picks[:size]]
        columns = kernel[:, known]
        left = np.trace(kernel - columns @ np.linalg.pinv(kernel[np.ix_(known, known)], rcond=1e-10) @ columns.T)
        assert told == pytest.approx(left, abs=1e-5 * np.trace(kernel))
    assert np.mean(host(found.weights)) == pytest.approx(1, rel=1e-5)
    assert found.trace == pytest.approx(np.trace(kernel), rel=1e-5)


@pytest.mark.parametrize("selector", SELECTORS)
def test_positions_may_be_said_in_every_way(selector):
    phi = gaussian(30)
    mask = np.zeros(30, dtype=bool)
    mask[[3, 20, 28]] = True
    first = dntk.distill.data.Selection(
        indices=np.array([3, 20, 28]), weights=np.ones(3), residual_trace=np.ones(3), trace=1.0
    )
    ways: list[GivenPoints] = [[3, 20, 28], (3, 20, -2), np.array([28, 3, 20]), mask, first]
    found = [chosen(selector(5).select(phi, given=way)) for way in ways]
    assert all(picks == found[0] for picks in found)


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("nothing", [None, [], range(0), np.zeros(30, dtype=bool), np.zeros(0, dtype=int)], ids=str)
def test_nothing_given_is_no_condition(selector, nothing):
    phi = gaussian(30)
    assert chosen(selector(5).select(phi, given=nothing)) == chosen(selector(5).select(phi))


@pytest.mark.parametrize("make", [*GREEDY, RPCholesky, Leverage, Random, KMeans, Herding])
def test_features_of_other_points_say_what_positions_do(make):
    """Points that are given as features, and stand among the others no more, lead to the same choice."""
    phi, given = gaussian(40), [4, 33]
    rest = [i for i in range(40) if i not in given]
    apart = [rest[i] for i in chosen(make(6).select(phi[rest], given=phi[given]))]
    if make in (FarthestPoint, LCMD, MaxDet) or make not in (RPCholesky, Leverage, Random, KMeans, Herding):
        assert apart == chosen(make(6).select(phi, given=given))
    left = make(6).select(phi[rest], given=phi[given]).residual_trace
    assert np.all(np.diff(left) <= 1e-12)
    assert left[0] < make(6).select(phi[rest], given=phi[given]).trace


@pytest.mark.parametrize("make", GREEDY, ids=IDS)
def test_batches_one_after_the_other_are_one_choice(make):
    """What is chosen beside the first picks are the picks that follow them."""
    phi, start = gaussian(80, 30), [11]
    whole = chosen(make(12).select(phi, given=start))
    assert chosen(make(8).select(phi, given=[*start, *whole[:4]])) == whole[4:]


@pytest.mark.parametrize("make", GREEDY[:3], ids=IDS[:3])
@pytest.mark.parametrize("exponent", [-30, 30])
def test_greedy_choices_do_not_depend_on_the_scale(library, make, exponent):
    values = host(features(NUMPY, decay=0.9).values)
    plain, scaled = (
        chosen(make(7).select(dntk.TangentFeatures(library.array(values * np.float32(s))), given=[4]))
        for s in (1.0, 2.0**exponent)
    )
    assert plain == scaled


@pytest.mark.parametrize("selector", SELECTORS)
def test_copies_of_given_points_are_taken_last_where_a_metric_or_a_variance_counts(selector):
    distinct = np.random.default_rng(1).normal(size=(12, 20))
    phi = dntk.TangentFeatures(np.tile(distinct, (3, 1))[None])
    given = [0, 1, 2, 3]
    picks = chosen(selector(8).select(phi, given=given))
    assert not {*given} & {*picks}
    if selector in (FarthestPoint, LCMD, MaxDet, RPCholesky, KMeans):
        assert sorted(i % 12 for i in picks) == list(range(4, 12))
    if selector is Leverage:  # its draws know what is given, not one another
        assert min(i % 12 for i in picks) >= 4
    everything = chosen(selector(32).select(phi, given=given))
    assert sorted(everything) == list(range(4, 36))


def test_lcmd_takes_more_of_what_is_dense_than_farthest_points():
    """A dense cloud and few outliers: the farthest points are outliers, and LCMD looks at the cloud, too."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(400, 3)), 8 * rng.normal(size=(20, 3))])
    phi = dntk.TangentFeatures(points[None])
    in_cloud = [sum(i < 400 for i in chosen(way(16).select(phi))) for way in (LCMD, FarthestPoint)]
    assert in_cloud[0] >= in_cloud[1] + 4


def test_given_centres_of_k_means_do_not_move_and_are_not_represented():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), [40, 30, 20, 10])
    points = 10 * np.eye(4, 8)[labels] + 0.1 * rng.normal(size=(100, 8))
    found = KMeans(2, seed=1).select(dntk.TangentFeatures(points[None]), given=[0, 75])
    assert [int(labels[i]) for i in found.indices] == [1, 3]
    np.testing.assert_allclose(found.weights, np.array([30, 10]) * 2 / 40)


def test_given_centres_of_k_means_stay_where_they_are():
    """A given point at the edge of a cluster: the other half of it stays nearer to a free centre."""
    rng = np.random.default_rng(0)
    points = np.concatenate([np.stack([np.linspace(0, 10, 101), np.zeros(101)], axis=1), rng.normal(size=(1, 2))])
    found = KMeans(1, seed=0).select(dntk.TangentFeatures(points[None]), given=[0])
    # One free centre c beside one at 0: c = (c/2 + 10)/2, so c = 20/3. If the given one moved they were 2.5 and 7.5.
    assert abs(points[found.indices[0], 0] - 20 / 3) < 0.3


def test_balance_is_of_the_choice_beside_what_is_given_of_every_class():
    phi, labels = gaussian(60), np.arange(60) % 3
    given = [0, 3, 1, 7]
    found = Balanced(LCMD(6), labels).select(phi, given=given)
    for c in range(3):
        members = np.flatnonzero(labels == c)
        within = [int(np.flatnonzero(members == i)[0]) for i in given if labels[i] == c]
        expected = members[chosen(LCMD(2).select(phi[members], given=within))]
        np.testing.assert_array_equal(found.indices[labels[found.indices] == c], expected)
    beside = Balanced(LCMD(6), labels).select(phi, given=gaussian(5, seed=3))
    assert np.bincount(labels[beside.indices]).tolist() == [2, 2, 2]


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_given_is_refused():
    phi = features(NUMPY)
    few = np.array([0] * 17 + [1] * 3)
    refused = [
        (LCMD(18), [1, 2, 3], ValueError, "`size`=18 points are asked of 20, of which 3 are `given`: .* at most 17"),
        (MaxDet(3), [1, 2, 1], ValueError, "`given` names point 1 2 times"),
        (MaxDet(3), [1, -19], ValueError, "`given` names point 1 2 times"),
        (LCMD(3), [20], IndexError, "`given` has indices from 20 to 20, but there are 20 points"),
        (LCMD(3), [0.5], ValueError, "`given` has dtype float64"),
        (LCMD(3), np.zeros(19, dtype=bool), ValueError, "`given` is a mask of shape"),
        (LCMD(3), 4, TypeError, "`given` is an int: pass positions"),
        (LCMD(3), "all", TypeError, "`given` is a str: pass positions"),
        (LCMD(3), gaussian(5), ValueError, "`given` has 1 outputs of 8 features"),
        (Balanced(LCMD(4), few), [17, 18], ValueError, "class 1 has 1 points that are not given, but 2 are asked"),
    ]
    for selector, given, error, message in refused:
        with pytest.raises(error, match=message):
            selector.select(phi, given=given)
    with pytest.raises(ValueError, match="`ridge` must be a number of at least 0"):
        MaxDet(3, ridge=-1.0)


def test_inputs_are_chosen_beside_others_by_the_last_layer():
    model, x = mlp(NUMPY), np.random.default_rng(0).normal(size=(30, 6)).astype("f4")
    found = LastLayer(LCMD(5)).select_inputs(model, x, given=[1, 4])
    phi = last_layer_features(model, x)
    assert chosen(found) == chosen(LCMD(5).select(phi, given=[1, 4]))
    with pytest.raises(TypeError, match="`given` are features"):
        LastLayer(LCMD(5)).select_inputs(model, x, given=phi)
