"""What selectors of points promise, over adversarial features.

A deterministic selector follows a permutation of the points, as long as its best pick is better than every other by
more than rounding: F is permuted, products change by γ_d ‖φ_i‖‖φ_j‖ each, hence squared distances and gains by a small
multiple of N·eps·max ‖φ‖² (and of ‖wanted‖·max ‖φ‖ for herding, whose target grows with the picks). The comparison ends
at the first pick that is nearer to a tie. All are invariant under multiplication by a power of two, which rounds
nothing. A copy of a chosen point is not chosen while another point has a residual, or a distance, above rounding.
"""

import numpy as np
from hypothesis import strategies as st

import dntk
from dntk.distill.data import LCMD, FarthestPoint, Herding, Leverage, MaxDet, Random, RPCholesky
from property_tests.allowances import eps
from property_tests.strategies import SHAPES, features, for_libraries, fractions, host64, part, seeds
from property_tests.test_nystrom import complement

EXACT = [s for s in SHAPES if s[0] in (1, 4)]
SEEDED = {
    "random": Random,
    "rp-cholesky": RPCholesky,
    "rp-cholesky by threes": lambda size, seed: RPCholesky(size, seed=seed, block=3),
    "farthest": lambda size, seed: FarthestPoint(size),  # noqa: ARG005
    "herding": lambda size, seed: Herding(size),  # noqa: ARG005
    "leverage": Leverage,
    "lcmd": lambda size, seed: LCMD(size),  # noqa: ARG005
    "max-det": lambda size, seed: MaxDet(size),  # noqa: ARG005
}
PLAIN = {"shapes": EXACT, "few": [(4, 6, 9)]}


def chosen(selection):
    return [int(i) for i in host64(selection.indices)]


def farthest_criterion(joined, picks):
    """Squared distance of every point to its nearest pick, or to the mean before any; −1 for the picks."""
    to = joined[picks] if picks else joined.mean(axis=0)[None]
    value = np.min(np.sum((joined[:, None] - to[None]) ** 2, axis=2), axis=1)
    value[picks] = -1
    return value, np.max(np.sum(joined**2, axis=1))


def herding_criterion(joined, picks):
    """⟨(t + 1)μ − Σ φ(x_i), φ(x)⟩ − ‖φ(x)‖²/2 of every point; −∞ for the picks."""
    wanted = (len(picks) + 1) * joined.mean(axis=0) - np.sum(joined[picks], axis=0)
    lengths = np.linalg.norm(joined, axis=1)
    value = joined @ wanted - lengths**2 / 2
    value[picks] = -np.inf
    return value, (2 * len(picks) + 2) * np.max(lengths) ** 2


def max_det_criterion(joined, picks):
    """Squared length of every point's features outside the span of the picks'; −1 for the picks."""
    value = np.sum((joined @ complement(joined[picks])) ** 2, axis=1) if picks else np.sum(joined**2, axis=1)
    value[picks] = -1
    return value, np.max(np.sum(joined**2, axis=1))


CRITERIA = {FarthestPoint: farthest_criterion, Herding: herding_criterion, MaxDet: max_det_criterion}


@for_libraries(case=features(**PLAIN), selector=st.sampled_from(list(CRITERIA)), fraction=fractions, seed=seeds())
def test_every_pick_of_a_deterministic_selector_is_the_best_and_follows_a_permutation(
    library, case, selector, fraction, seed
):
    n = case.shape[1]
    size, order = part(fraction, n), np.random.default_rng(seed).permutation(n)
    computed = "float64" if library.has_float64 else "float32"
    first = chosen(selector(size).select(case.phi(library)))
    permuted = dntk.TangentFeatures(library.array(case.values[:, order]))
    second = [int(order[i]) for i in chosen(selector(size).select(permuted))]
    together = True
    for step, pick in enumerate(first):
        value, scale = CRITERIA[selector](case.joined, first[:step])
        slack = 8 * case.size * eps(computed) * scale
        assert value[pick] >= np.max(value) - slack
        rivals = np.delete(value, pick)
        together = together and (rivals.size == 0 or value[pick] > np.max(rivals) + 2 * slack)
        if together:
            assert second[step] == pick


@for_libraries(
    case=features(**PLAIN),
    name=st.sampled_from(list(SEEDED)),
    exponent=st.sampled_from([-33, 33]),
    fraction=fractions,
    seed=seeds(),
)
def test_choices_are_the_same_at_another_scale(library, case, name, exponent, fraction, seed):
    size = part(fraction, case.shape[1])
    # Centred first: the strategies' own scales and 1e±10 together would leave the range of float32.
    centre = 2.0 ** -round(np.log2(max(np.max(np.abs(case.wide)), 1e-300)))
    base = (case.wide * centre).astype(case.dtype)
    here, there = (
        SEEDED[name](size, seed=seed).select(dntk.TangentFeatures(library.array(base * case.values.dtype.type(factor))))
        for factor in (1.0, 2.0**exponent)
    )
    assert chosen(here) == chosen(there)
    np.testing.assert_array_equal(host64(here.weights), host64(there.weights))
    told, scaled = host64(here.residual_trace), host64(there.residual_trace) * 2.0 ** (-2 * exponent)
    # Sums may flush what is far below rounding of the trace.
    np.testing.assert_allclose(scaled, told, rtol=4 * eps(case.dtype), atol=eps(case.dtype) ** 2 * here.trace)


@for_libraries(
    case=features(**PLAIN, rows=["duplicated"]),
    name=st.sampled_from(["rp-cholesky", "rp-cholesky by threes", "farthest", "max-det"]),
    fraction=fractions,
    seed=seeds(),
)
def test_no_copy_of_a_chosen_point_is_chosen_while_residual_is_left(library, case, name, fraction, seed):
    n = case.shape[1]
    picks = chosen(SEEDED[name](part(fraction, n), seed=seed).select(case.phi(library)))
    computed = "float64" if library.has_float64 else "float32"
    joined = case.joined
    largest = np.max(np.sum(joined**2, axis=1))
    for step, pick in enumerate(picks):
        if any(np.array_equal(joined[pick], joined[other]) for other in picks[:step]):
            if name == "farthest":
                left, _ = farthest_criterion(joined, picks[:step])
            else:
                left = np.sum((joined @ complement(joined[picks[:step]])) ** 2, axis=1)
            # A residual of d is known up to the rounding of those before: 8N·eps of the largest, each.
            assert np.max(left) <= 8 * case.size * eps(computed) * largest * max(1, step)
