import numpy as np
import pytest

import dntk
from dntk.distill.gradients import Streaming
from dntk.solve import ridge
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, targets

NUMPY = LIBRARIES[0]


def chunks(phi, y, size=7):
    spans = [(start, min(start + size, len(phi))) for start in range(0, len(phi), size)]
    return [(phi[a:b], y[..., a:b, :]) for a, b in spans]


@pytest.mark.parametrize("per_output", [True, False])
def test_rows_bracket_the_gram_matrix_of_the_features(library, per_output):
    phi, y = features(library, n=90), targets(library, n=90)
    streamed = Streaming(5, per_output=per_output).stream(chunks(phi, y))
    rows, shift = host(streamed.rows).astype("f8"), host(streamed.shift).astype("f8")
    values = host(phi.values).astype("f8")
    slack = 1e2 * np.finfo("f4").eps * np.sum(values**2, axis=(1, 2)).max()  # float32 sums of 90 rows
    for c in range(3):
        gap = np.linalg.eigvalsh(values[c].T @ values[c] - rows[c].T @ rows[c])
        assert gap[0] >= -slack
        assert gap[-1] <= shift[c] + slack
    expected = np.einsum("nc,cnk->ck", host(y).astype("f8"), values)
    np.testing.assert_allclose(host(streamed.products)[0], expected, atol=1e-4)


def test_the_shift_is_bounded_by_the_tails_of_the_spectrum():
    phi, y = features(NUMPY, n=90, dtype="f8"), targets(NUMPY, n=90, dtype="f8")
    size = 8
    streamed = Streaming(size).stream(chunks(phi, y))
    for c in range(3):
        squares = np.linalg.svd(phi.values[c], compute_uv=False) ** 2
        bound = min(squares[r:].sum() / (size + 1 - r) for r in range(size + 1))
        assert streamed.shift[c] <= bound * (1 + 1e-12)


def test_as_many_rows_as_the_rank_lose_nothing(library):
    interpreted(library)
    phi, y, query = features(library, k=6, n=40), targets(library, n=40), features(library, k=6, n=9, seed=12)
    streamed = Streaming(6).stream(chunks(phi, y))
    full = host(ridge(phi, y, ridge=0.1).predict(query))
    np.testing.assert_allclose(host(streamed.solve(0.1).predict(query)), full, atol=1e-3 * np.abs(full).max())


@pytest.mark.parametrize("per_output", [True, False])
@pytest.mark.parametrize("lam", [1e-4, 1e-1])
def test_the_certificate_holds_and_the_second_pass_betters_the_first(per_output, lam):
    phi, y, query = features(NUMPY, n=60, dtype="f8"), targets(NUMPY, n=60, dtype="f8"), features(NUMPY, dtype="f8")
    exact = ridge(phi, y, ridge=lam)
    streamed = Streaming(6, per_output=per_output).stream(chunks(phi, y))
    a = phi.values.mT @ phi.values + lam * np.eye(40)

    def objective(w):
        return np.sum((y.T - (phi.values @ w[:, :, None])[:, :, 0]) ** 2, axis=1) + lam * np.sum(w**2, axis=1)

    first, second = streamed.solve(lam), streamed.same_span([part for part, _ in chunks(phi, y, 11)], lam)
    for fit in (first, second):
        e = fit.weights - exact.weights
        energy = np.sqrt(np.einsum("ck,ckl,cl->c", e, a, e))
        assert np.all(energy <= fit.energy.value)
        errors = np.abs(fit.predict(query) - exact.predict(query))
        assert np.all(errors <= fit.prediction_bound(query).value)
    # (λ + Δ/2)w = b − BᵀBw: w lies in the span of the rows and b, in which the second pass is best.
    assert np.all(objective(second.weights) <= objective(first.weights) * (1 + 1e-9))


def test_parts_of_the_data_can_be_streamed_apart():
    phi, y = features(NUMPY, n=60, dtype="f8"), targets(NUMPY, n=60, dtype="f8")
    merged = Streaming(8).stream(chunks(phi[:25], y[:25])).merged(Streaming(8).stream(chunks(phi[25:], y[25:])))
    whole = phi.values.mT @ phi.values
    for c in range(3):
        gap = np.linalg.eigvalsh(whole[c] - merged.rows[c].T @ merged.rows[c])
        assert gap[0] >= -1e-12
        assert gap[-1] <= merged.shift[c] + 1e-12
    assert merged.points == 60
    np.testing.assert_allclose(merged.products[0], np.einsum("nc,cnk->ck", y, phi.values), atol=1e-12)
    np.testing.assert_allclose(merged.energies, np.sum(phi.values**2, axis=(1, 2)))


def test_several_tasks_take_one_pass():
    phi = features(NUMPY, n=40, dtype="f8")
    y = np.stack([targets(NUMPY, n=40, dtype="f8", seed=s) for s in (1, 2)])
    both = Streaming(5).stream(chunks(phi, y))
    for task in (0, 1):
        alone = Streaming(5).stream(chunks(phi, y[task]))
        np.testing.assert_allclose(both.solve(0.1, task=task).weights, alone.solve(0.1).weights, atol=1e-12)


def test_without_the_shift_the_regression_would_be_ruined():
    """What the result has no method for: the same rows, λ alone. And no other solver takes it."""
    phi, y = features(NUMPY, n=60, dtype="f8"), targets(NUMPY, n=60, dtype="f8")
    lam = 1e-6
    exact = ridge(phi, y, ridge=1e-2).weights
    streamed = Streaming(5).stream(chunks(phi, y))
    rows, b = streamed.rows, streamed.products[0]
    plain = np.linalg.solve(rows.mT @ rows + lam * np.eye(40), b[:, :, None])[:, :, 0]
    robust = streamed.solve(lam).weights
    assert np.linalg.norm(robust) < 50 * np.linalg.norm(exact)
    assert np.linalg.norm(plain) > 1e3 * np.linalg.norm(robust)
    with dntk.checking(False), pytest.raises((TypeError, AttributeError)):
        ridge(streamed, y, ridge=lam)


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_rows_scale_with_the_features(factor):
    phi, y = features(NUMPY, n=30, dtype="f8"), targets(NUMPY, n=30, dtype="f8")
    plain = Streaming(4).stream(chunks(phi, y)).solve(0.1)
    scaled = Streaming(4).stream(chunks(dntk.TangentFeatures(phi.values * factor), y)).solve(0.1 * factor**2)
    np.testing.assert_allclose(scaled.weights * factor, plain.weights, rtol=1e-9)


def test_one_point_and_duplicates_are_streamed(library):
    interpreted(library)
    phi = dntk.TangentFeatures(library.array([[[3.0, 4.0]]], "f4"))
    fit = Streaming(3).stream([(phi, library.array([[2.0]], "f4"))]).solve(1.0)
    assert float(fit.predict(phi)[0, 0]) == pytest.approx(2 * 25 / 26, rel=1e-5)
    twice = dntk.TangentFeatures(library.array(np.ones((1, 8, 2)), "f4"))
    streamed = Streaming(2).stream([(twice, library.array(np.ones((8, 1)), "f4"))] * 3)
    assert float(streamed.shift[0]) < 1e-5
    assert streamed.points == 24


def test_arrays_are_streamed_as_the_features_that_they_are(library):
    phi, y = features(library), targets(library)
    found = Streaming(3).stream((part.values, own) for part, own in chunks(phi, y))
    expected = Streaming(3).stream(chunks(phi, y))
    np.testing.assert_array_equal(host(found.rows), host(expected.rows))
    np.testing.assert_array_equal(host(found.products), host(expected.products))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_and_named():
    phi, y = features(NUMPY), targets(NUMPY)
    with pytest.raises(ValueError, match="`size`"):
        Streaming(0)
    with pytest.raises(ValueError, match="`chunks` is empty"):
        Streaming(3).stream([])
    with pytest.raises(ValueError, match="`chunk` has 2 outputs"):
        Streaming(3).stream([(phi, y), (features(NUMPY, c=2), targets(NUMPY, c=2))])
    with pytest.raises(ValueError, match="`targets` has 1 tasks"):
        Streaming(3).stream([(phi, np.stack([y, y])), (phi, y)])
    streamed = Streaming(3).stream([(phi, y)])
    with pytest.raises(ValueError, match="`ridge` must be positive"):
        streamed.solve(0.0)
    with pytest.raises(ValueError, match="`task`=1"):
        streamed.solve(1.0, task=1)
    with pytest.raises(ValueError, match="second pass had 5 points"):
        streamed.same_span([phi[:5]], 1.0)
    with pytest.raises(ValueError, match="with one `Streaming`"):
        streamed.merged(Streaming(4).stream([(phi, y)]))
