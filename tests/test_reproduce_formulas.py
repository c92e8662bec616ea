"""The formulas of the reproduction, against references of their own."""

import math

import numpy as np
import pytest

from dntk_studies.reproduce import paper
from dntk_studies.reproduce._figure_4 import gaps
from dntk_studies.reproduce.exact_costs import by_exponent, by_orders, exponent
from dntk_studies.reproduce.images import indices_by_class, interleaved
from dntk_studies.reproduce.ledger_table import break_even, totals
from dntk_studies.reproduce.sketch_sweep import expected_error, relative_error
from dntk_studies.reproduce.spread import shown, spread
from dntk_studies.reproduce.unseen import grouped_accuracy, grouped_targets, groupings


def test_gaps_are_those_of_projectors_written_out():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((12, 30)) * np.linspace(3, 0.1, 12)[:, None]
    kernel, labels, ranks = features @ features.T, np.repeat([0, 1, 2], 4), (1, 2, 1)
    values, vectors = np.linalg.eigh(kernel)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int(np.searchsorted(np.cumsum(values), 0.95 * np.sum(values))) + 1
    lifted = np.zeros((12, 4))
    column = 0
    for cluster, r in enumerate(ranks):
        block = np.flatnonzero(labels == cluster)
        lifted[block, column : column + r] = np.linalg.eigh(kernel[np.ix_(block, block)])[1][:, ::-1][:, :r]
        column += r
    projector = lifted @ lifted.T
    leading = vectors[:, :rank] * np.sqrt(values[:rank])
    found = gaps(kernel, labels, ranks)
    whole = np.sum(values[:rank])
    assert (found["rank"], found["directions"]) == (rank, 4)
    assert found["energy"] == pytest.approx(np.sum((leading - projector @ leading) ** 2) / whole, rel=1e-10)
    assert found["rayleigh"] == pytest.approx(max(0, 1 - np.trace(lifted.T @ kernel @ lifted) / whole), rel=1e-10)
    assert found["largest"] <= found["energy"]


def test_one_cluster_with_all_its_eigenvectors_misses_nothing():
    kernel = np.diag([4.0, 3.0, 2.0, 1.0])
    found = gaps(kernel, np.zeros(4, dtype=int), (4,))
    assert found["energy"] == pytest.approx(0, abs=1e-15)
    assert found["largest"] == pytest.approx(0, abs=1e-15)


def test_the_error_expected_of_a_sketch_is_that_of_gaussian_ones():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 6, 9)) * np.linspace(2, 0.3, 9)
    exact, k, draws = features @ features.mT, 50, 4000
    squares = []
    for _ in range(draws):
        sketch = rng.standard_normal((9, k)) / math.sqrt(k)
        sketched = features @ sketch
        squares.append(relative_error(sketched @ sketched.mT, exact) ** 2)
    deviation = np.std(squares) / math.sqrt(draws)
    assert abs(np.mean(squares) - expected_error(exact, k) ** 2) < 5 * deviation


def test_extrapolation_continues_a_power_law():
    rows = [{"points": n, "seconds": 3e-5 * n**1.7} for n in (10, 20, 40, 80)]
    assert exponent(rows, "seconds") == pytest.approx(1.7)
    assert by_exponent(rows, "seconds", 10_000) == pytest.approx(3e-5 * 10_000**1.7)


def test_orders_of_growth_are_told_apart_where_the_exponent_sees_only_the_lower():
    rows = [{"points": n, "seconds": 2e-2 * n + 3e-5 * n**2} for n in (32, 64, 128, 256)]
    truth = 2e-2 * 50_000 + 3e-5 * 50_000**2
    assert by_orders(rows, "seconds", 50_000, (1, 2)) == pytest.approx(truth, rel=1e-6)
    assert by_exponent(rows, "seconds", 50_000) < truth / 10


def test_an_exponent_needs_two_sizes():
    assert math.isnan(exponent([{"points": 10, "seconds": 1.0}], "seconds"))


def test_distillation_has_paid_when_both_ways_cost_the_same():
    exact = {"pair_exact": 3e-4, "pair_distilled": 1e-5}
    pairs = break_even(12.0, exact)
    assert 12.0 + pairs * exact["pair_distilled"] == pytest.approx(pairs * exact["pair_exact"])
    assert break_even(12.0, {"pair_exact": 1e-6, "pair_distilled": 1e-5}) == math.inf


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_groupings_halve_the_classes(classes):
    signs = groupings(classes)
    assert signs.shape == (classes, classes)
    np.testing.assert_array_equal(np.sum(signs > 0, axis=1), classes // 2)


def test_grouped_accuracy_is_one_for_the_targets_themselves_and_zero_for_their_opposites():
    labels = np.array([0, 3, 2, 1, 3])
    targets = grouped_targets(labels, 4)
    assert targets.shape == (5, 4)
    assert grouped_accuracy(targets, labels, 4) == 1
    assert grouped_accuracy(-targets, labels, 4) == 0


def test_prefixes_of_interleaved_points_are_balanced():
    labels = np.array([2, 0, 1, 1, 0, 2, 0, 1, 2])
    order = interleaved([members[:3] for members in indices_by_class(labels, 3)])
    assert sorted(order) == list(range(9))
    for rounds in range(1, 4):
        np.testing.assert_array_equal(np.bincount(labels[order[: 3 * rounds]]), rounds)


def test_spread_is_mean_and_sample_deviation_and_leaves_gaps_out():
    rows = [{"seed": s, "a": "x", "v": v} for s, v in enumerate((1.0, 2.0, None, 6.0))]
    found = spread(rows, ("a",), ("v",))[0]
    assert (found["seeds"], found["v"], found["v_sd"]) == (4, 3.0, pytest.approx(np.std([1, 2, 6], ddof=1)))
    assert shown(found, "v", ".1f") == "3.0 ± 2.6"
    assert shown({"v": None}, "v") == "–"


@pytest.mark.parametrize(("value", "difference"), [(0.13, 0.0), (0.10, -0.02), (0.20, 0.05)])
def test_the_difference_from_the_paper_is_that_from_the_nearer_end_of_its_range(value, difference):
    row = paper.Comparison(quantity="q", paper=(0.12, 0.15), values=(value,)).as_row()
    assert row["difference"] == pytest.approx(difference)


def test_a_pipeline_that_chooses_from_more_points_pays_for_choosing_more_and_for_nothing_else():
    costs = {"jacobian_rows": 1.0, "flops": 10.0, "nbytes": 100.0, "seconds": 0.5}
    names = ("last-layer features", "choosing points", "features", "5 gradients, LocalGlobal", "5 gradients, Solution")
    stages = [{"stage": name, **costs} for name in names]
    assert totals(stages) == {column: 4 * value for column, value in costs.items()}
    assert totals(stages, times=5.0) == {column: (2 * 5 + 2) * value for column, value in costs.items()}
