"""The cost ledger: what is counted, where, and that it adds up."""

import contextlib
import threading
import time

import numpy as np
import pytest

import dntk
from dntk.ledger import Ledger, LedgerRecorder, StageCost, count


def model():
    weights = np.arange(12.0).reshape(4, 3) / 12, np.arange(8.0).reshape(2, 4) / 8
    return dntk.MLP(weights=weights, biases=(np.ones(4), np.ones(2)), activation="tanh")


def recorded(action):
    recorder = LedgerRecorder()
    with recorder.stage("it"):
        action()
    return recorder.ledger()["it"]


def test_work_is_added_up_within_its_stage():
    recorder = LedgerRecorder()
    with recorder.stage("first"):
        count(jacobian_rows=2, flops=3, nbytes=5)
        count(flops=7)
    with recorder.stage("second"):
        count(nbytes=11)
    first, second = recorder.ledger().stages
    assert (first.stage, first.jacobian_rows, first.flops, first.nbytes) == ("first", 2, 10, 5)
    assert (second.stage, second.jacobian_rows, second.flops, second.nbytes) == ("second", 0, 0, 11)


def test_work_outside_a_stage_is_not_counted():
    recorder = LedgerRecorder()
    count(flops=1)
    with recorder.stage("it"):
        pass
    count(flops=1)
    assert recorder.ledger().total().flops == 0


def test_stage_may_count_through_what_it_yields():
    recorder = LedgerRecorder()
    with recorder.stage("it") as counter:
        counter.nbytes += 9
    assert recorder.ledger()["it"].nbytes == 9


def test_seconds_are_those_of_the_clock(monkeypatch):
    times = iter([10.0, 12.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    assert recorded(lambda: None).seconds == 2.5


def test_total_is_the_sum_over_stages():
    stages = (
        StageCost(stage="a", jacobian_rows=1, flops=2, nbytes=3, seconds=0.5),
        StageCost(stage="b", jacobian_rows=10, flops=20, nbytes=30, seconds=0.25),
    )
    expected = StageCost(stage="total", jacobian_rows=11, flops=22, nbytes=33, seconds=0.75)
    assert Ledger(stages=stages).total() == expected
    assert Ledger().total() == StageCost(stage="total")


def test_stages_are_found_by_name():
    ledger = Ledger(stages=(StageCost(stage="a"), StageCost(stage="b", flops=1)))
    assert ledger["b"].flops == 1
    with pytest.raises(KeyError, match="no stage 'c' in the ledger; it has: a, b"):
        ledger["c"]


def test_stage_that_fails_is_recorded_and_ends():
    recorder = LedgerRecorder()
    with contextlib.suppress(ZeroDivisionError), recorder.stage("it"):
        count(flops=4)
        1 / 0  # noqa: B018
    count(flops=100)
    assert recorder.ledger()["it"].flops == 4


def test_work_inside_another_recorders_stage_belongs_to_the_stage_around_it_too():
    inner, outer = LedgerRecorder(), LedgerRecorder()
    with outer.stage("around"):
        with inner.stage("within"):
            count(flops=1, nbytes=5)
        count(flops=10)
    assert inner.ledger()["within"].flops == 1
    assert outer.ledger()["around"].flops == 11
    assert outer.ledger()["around"].nbytes == 0


def test_ledger_of_an_unfinished_run_has_the_stages_so_far():
    recorder = LedgerRecorder()
    with recorder.stage("a"):
        pass
    before = recorder.ledger()
    with recorder.stage("b"):
        pass
    assert [s.stage for s in before.stages] == ["a"]
    assert [s.stage for s in recorder.ledger().stages] == ["a", "b"]


def test_work_of_other_threads_is_not_counted():
    recorder = LedgerRecorder()
    with recorder.stage("it"):
        thread = threading.Thread(target=lambda: count(flops=5))
        thread.start()
        thread.join()
    assert recorder.ledger()["it"].flops == 0


@pytest.mark.parametrize(("outputs", "functionals"), [("each", 2), ("sum", 1), (1, 1)])
def test_features_count_one_jacobian_row_per_input_and_functional(outputs, functionals):
    cost = recorded(
        lambda: dntk.tangent_features(
            model(), np.ones((5, 3)), sketch=dntk.sketch.Gaussian(8), outputs=outputs, batch_size=2
        )
    )
    assert cost.jacobian_rows == 5 * functionals


def test_kernels_count_the_rows_of_every_batch():
    def rows(*x, **settings):
        return recorded(lambda: dntk.ntk(model(), *x, **settings)).jacobian_rows

    x1, x2 = np.ones((4, 3)), np.ones((6, 3))
    assert rows(x1) == 4 * 2
    assert rows(x1, outputs="sum") == 4
    assert rows(x1, x2) == (4 + 6) * 2
    # Two batches of x1, each against three of x2; within x1, three tiles on and above the diagonal.
    assert rows(x1, x2, batch_size=2) == (4 + 2 * 6) * 2
    assert rows(x1, batch_size=2) == (4 + 2) * 2


def test_operations_of_sketches_are_two_per_multiply_add():
    gradients = np.ones((3, 100))
    assert recorded(lambda: dntk.sketch.Gaussian(16).apply(gradients)).flops == 2 * 3 * 100 * 16
    sparse = dntk.sketch.SparseSign(16, nonzeros=4)
    assert recorded(lambda: sparse.apply(gradients)).flops == 2 * 3 * 100 * 4


def test_operations_of_an_exact_kernel_are_those_of_its_products():
    """One hidden layer at one position: forward, two backward passes to it, and the cheaper products of each layer."""
    n, (d, h, c) = 5, (3, 4, 2)
    network = 2 * n * (d * h + h * c) + c * 2 * n * h * c
    # Contracted, cotangents joined: half of the symmetric products of a (n, d) and g (n, c·h), which are multiplied.
    first = n * n * (d + c * h + 1)
    # Expanded, and half of the symmetric products for the weight and for the bias.
    last = 2 * n * c * (c * h) + n * n * c * (c * h) + n * n * c * c
    cost = recorded(lambda: dntk.ntk(model(), np.random.default_rng(0).normal(size=(n, d)), batch_size=n))
    assert cost.flops == network + first + last
