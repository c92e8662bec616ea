"""Explanations of predictions, against distances and refitted regressions in NumPy."""

import numpy as np
import pytest

import dntk
from dntk.attribution import Explanation, explain, leave_one_out
from tests.libraries import LIBRARIES, host


def scene(library, c=3, n=12, k=5, q=4):
    rng = np.random.default_rng(0)
    train, query = (rng.normal(size=(c, rows, k)).astype(np.float32) for rows in (n, q))
    y = rng.normal(size=(n, 3)).astype(np.float32)
    left = leave_one_out(dntk.TangentFeatures(library.array(train)), library.array(y), ridge=0.3)
    return left, dntk.TangentFeatures(library.array(query)), train.astype(float), query.astype(float), y.astype(float)


@pytest.mark.parametrize("c", [3, 1])
def test_neighbours_and_terms_are_those_of_their_definition(library, c):
    """One set of features for all outputs, too."""
    left, phi, train, query, y = scene(library, c=c)
    found = explain(left, phi, 2, size=4)
    assert isinstance(found, Explanation)
    p, x = train[min(2, c - 1)], query[min(2, c - 1)]
    distances = np.linalg.norm(x[:, None, :] - p[None, :, :], axis=2)
    order = np.argsort(distances, axis=1)[:, :4]
    np.testing.assert_array_equal(host(found.indices), order)
    tolerance = 1e-4 if not library.has_float64 else 1e-6
    np.testing.assert_allclose(host(found.distances), np.sort(distances, axis=1)[:, :4], atol=tolerance)
    parts = x @ p.T @ np.linalg.inv(p @ p.T + 0.3 * np.eye(12)) * y[:, 2]
    scale = np.abs(parts).sum()
    np.testing.assert_allclose(
        host(found.contributions), np.take_along_axis(parts, order, axis=1), atol=tolerance * scale
    )
    np.testing.assert_allclose(host(found.prediction), parts.sum(axis=1), atol=tolerance * scale)


def test_terms_and_the_rest_sum_to_the_prediction(library):
    left, phi, *_ = scene(library)
    found = explain(left, phi, 1, size=5)
    total = host(found.contributions).sum(axis=1) + host(found.rest)
    np.testing.assert_allclose(total, host(left.predict(phi))[:, 1], rtol=1e-4, atol=1e-5)
    everything = explain(left, phi, 1, size=12)
    np.testing.assert_allclose(host(everything.rest), 0, atol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("output", "size", "text"),
    [
        (3, 2, "`output` must be an integer from 0 to 2, got 3"),
        (-1, 2, "`output` must be an integer from 0 to 2, got -1"),
        (True, 2, "`output` must be an integer"),
        (0, 13, "`size` is 13, but there are 12 training points"),
        (0, 0, "`size` must be a positive integer"),
    ],
)
def test_what_there_is_not_is_refused(output, size, text):
    left, phi, *_ = scene(LIBRARIES[0])
    with pytest.raises(ValueError, match=text):
        explain(left, phi, output, size=size)
