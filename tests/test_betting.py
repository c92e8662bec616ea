"""Ends of means by betting, against every order in which a population can be drawn."""

import itertools
import math

import numpy as np
import pytest

from dntk.certificates.betting import Draws, log_wealth, lower_end, upper_end

POPULATIONS = {
    "rare": ([0.3, 0.2, 0.2, 0.15, 0.1, 0.05], [0.0, 0.0, 0.2, 0.0, 0.0, 1.0]),
    "heavy": ([0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [1.0, 0.0, 0.1, 0.0, 0.2, 0.0]),
    "coins": ([1 / 6] * 6, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
}


def orders(shares):
    """Every order of a draw without replacement in proportion to shares, with its probability."""
    for order in itertools.permutations(range(len(shares))):
        probability, left = 1.0, 1.0
        for point in order:
            probability *= shares[point] / left
            left = max(left - shares[point], 1e-300)
        yield list(order), probability


def drawn(shares, part, points, known=()):
    """What draws and known points say, of a population whose whole parts are 1."""
    return Draws(
        part=part[points],
        whole=np.ones(len(points)),
        shares=shares[points],
        known_part=float(shares[list(known)] @ part[list(known)]),
        known_whole=float(np.sum(shares[list(known)])),
        left=1 - float(np.sum(shares[list(known)])),
    )


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_wealth_of_a_bet_that_is_no_better_than_fair_never_grows_on_average(name):
    shares, part = (np.asarray(x) for x in POPULATIONS[name])
    mean = float(shares @ part)
    for sign, reach in ((1, 1 - mean), (-1, mean)):
        for number in range(1, 6):
            won = 0.0
            for order, probability in orders(shares):
                points = order[:number]
                values = sign * (part[points] - mean)
                # The wealth at the end alone: its supremum is that of the sums up to there.
                wealth = _final(values, shares[points], reach)
                won += probability * wealth
            assert won <= 1 + 1e-9


def _final(values, shares, reach):
    """W_t written out, one bet and one draw after another."""
    total = []
    for c in 2.0 ** -np.arange(8):
        wealth, seen, left = 1.0, 0.0, 1.0
        for value, share in zip(values, shares, strict=True):
            rate = min(c / (reach * left), 1 / (reach * left + max(seen, 0.0)))
            wealth *= max(0.0, 1 - rate * (value * left + seen))
            seen, left = seen + share * value, left - share
        total.append(wealth)
    return float(np.mean(total))


def test_wealth_is_the_largest_mean_of_the_bets_so_far():
    rng = np.random.default_rng(0)
    values, shares = rng.uniform(-0.1, 0.02, size=12), rng.uniform(0.01, 0.05, size=12)
    expected = max(1.0, *(_final(values[:t], shares[:t], 0.5) for t in range(1, 13)))
    assert log_wealth(values, shares, 0.0, 1.0, 0.5) == pytest.approx(math.log(expected), rel=1e-9)


def rejected(found, mean, failure):
    """Whether the upper and the lower end leave out the mean: wealth falls with the distance from it."""
    values, known = found.part - mean * found.whole, found.known_part - mean * found.known_whole
    need = -math.log(failure)
    above = log_wealth(values, found.shares, known, found.left, 1 - mean) >= need
    return np.asarray([above, log_wealth(-values, found.shares, -known, found.left, mean) >= need])


@pytest.mark.parametrize("failure", [0.5, 0.2, 0.05])
@pytest.mark.parametrize("name", POPULATIONS)
def test_ends_fail_no_oftener_than_they_say_over_every_order_and_with_points_known_before(name, failure):
    shares, part = (np.asarray(x) for x in POPULATIONS[name])
    mean, missed, missed_later = float(shares @ part), np.zeros(2), np.zeros(2)
    for order, probability in orders(shares):
        missed += probability * rejected(drawn(shares, part, order[:4]), mean, failure)
        # The first point of an order is known whatever it is; bets begin with the second.
        missed_later += probability * rejected(drawn(shares, part, order[1:5], known=order[:1]), mean, failure)
    assert np.all(missed <= failure)
    assert np.all(missed_later <= failure)


@pytest.mark.parametrize("name", POPULATIONS)
def test_ends_are_where_the_bets_against_a_mean_begin_to_win(name):
    shares, part = (np.asarray(x) for x in POPULATIONS[name])
    found = drawn(shares, part, [1, 3, 4, 2], known=[0])
    low, high = lower_end(found, 0.3), upper_end(found, 0.3)
    for mean in np.linspace(0.01, 0.99, 25):
        above, below = rejected(found, mean, 0.3)
        assert above == (mean >= high)
        assert below == (mean <= low)


def test_looking_as_often_as_one_likes_costs_nothing():
    # The wealth is the largest so far, whenever that was. At 10% and 400 trials, 77 are six standard deviations away.
    rng, misses = np.random.default_rng(1), 0
    for _ in range(400):
        values = np.where(rng.random(300) < 0.1, rng.random(300), 0.0)
        misses += rejected(drawn(np.zeros(300), values, np.arange(300)), 0.05, 0.1)[0]
    assert 0 < misses <= 77


def test_ends_follow_the_variance_and_close_in_as_the_population_is_used_up():
    rng = np.random.default_rng(2)
    part = np.clip(rng.gamma(2, 0.015, size=2000), 0, 1)
    shares = np.full(2000, 1 / 2000)
    widths = []
    for number in (200, 800, 1900):
        found = drawn(shares, part, np.arange(number))
        low, high = lower_end(found, 0.005), upper_end(found, 0.005)
        assert low < part.mean() < high
        widths.append(high - low)
    hoeffding = 2 * math.sqrt(math.log(2 / 0.01) / (2 * 800))
    assert widths[1] < hoeffding / 5
    assert widths[2] < widths[1] / 4


def test_a_reach_beyond_one_is_allowed_for():
    # Lengths of sketched gradients exceed the exact ones: bets of the usual size would lose more than all.
    part, whole = np.asarray([0.0] * 30), np.asarray([1.0] * 30)
    narrow, wide = (
        upper_end(Draws(part=part, whole=whole, shares=np.zeros(30), reach=reach), 0.01) for reach in (1.0, 1.5)
    )
    assert 1.3 < wide / narrow < 1.6
