"""Weights are brought from the sketch to the parameters once, and what is kept is always that of the weights."""

import dataclasses
import pickle
import threading

import numpy as np
import pytest

import dntk
from dntk.distill.gradients import Solution
from dntk.estimator import linear_weights
from dntk.estimator.linear_weights import LinearWeights
from dntk.sketch import SparseSign
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

DIM = 64


@pytest.fixture
def transposes(monkeypatch):
    """Calls of Sᵀ, as they come."""
    calls, own = [], SparseSign.adjoint

    def counted(self, z, **options):
        calls.append(z.shape)
        return own(self, z, **options)

    monkeypatch.setattr(SparseSign, "adjoint", counted)
    return calls


def fitted(library, **options):
    """A network, points, and their fit in the coordinates of a sketch."""
    model, x = mlp(library), inputs(library, n=20)
    spec = dntk.DistilledNTK(model, data=None, sketch=SparseSign(DIM), gradients=Solution(3), ridge=0.05, **options)
    return model, x, spec.fit(x)


def test_all_calls_that_predict_share_one_transpose_of_the_sketch(library, transposes):
    model, x, fit = fitted(library)
    transposes.clear()  # those of the fit itself
    first = host(fit.predict(x))
    fit.score(x, fit.predict_label(x))
    fit.fidelity(x)
    fit.query(x), fit.trust(x), fit.uncertainty(x)
    np.testing.assert_array_equal(host(fit.predict(x)), first)
    assert len(transposes) == 1
    # Sums of k = 64 and P products in float32, in two orders.
    reference = host(fit.query(x).prediction)
    slack = (DIM + model.n_parameters) * 2**-24 * np.abs(reference).max() * 4
    np.testing.assert_allclose(first, reference, rtol=0, atol=slack)


def test_weights_changed_in_place_and_weights_put_in_their_place_are_predicted_with():
    _, x, fit = fitted(LIBRARIES[0])
    before = fit.predict(x)
    other = dntk.estimator.fit.Fit(fit.model, dataclasses.replace(fit.state, weights=2 * fit.weights))
    np.testing.assert_array_equal(other.predict(x), 2 * before)
    fit.weights[...] *= 4
    np.testing.assert_array_equal(fit.predict(x), 4 * before)


def test_what_is_kept_is_counted_and_is_not_pickled():
    model, x, fit = fitted(LIBRARIES[0])
    linear = fit.state.linear
    assert linear.kept_bytes == 0
    before, size = fit.predict(x), len(pickle.dumps(linear))
    assert linear.kept_bytes == 4 * model.n_outputs * (model.n_parameters + DIM)
    assert len(pickle.dumps(linear)) == size
    back = pickle.loads(pickle.dumps(fit))
    assert back.state.linear.kept_bytes == 0
    np.testing.assert_array_equal(back.predict(x), before)


def test_what_takes_more_than_its_share_is_made_at_every_call(transposes, monkeypatch):
    model, x, fit = fitted(LIBRARIES[0])
    whole = 4 * model.n_outputs * model.n_parameters
    linear = LinearWeights(fit.weights, fit.sketch)
    for limit, made in ((4 * whole - 1, 2), (4 * whole, 1)):
        transposes.clear()
        linear.in_parameters(limit), linear.in_parameters(limit)
        assert len(transposes) == made
    monkeypatch.setattr(linear_weights, "KEPT_BYTES", whole - 1)
    fit.predict(x)
    assert fit.state.linear.kept_bytes == 0


def test_threads_make_it_once(transposes):
    _, x, fit = fitted(LIBRARIES[0])
    transposes.clear()
    ready, found = threading.Barrier(8), []

    def ask():
        ready.wait()
        found.append(fit.predict(x))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(transposes) == 1
    assert all(np.array_equal(each, found[0]) for each in found)
