import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression

import dntk
from dntk.distill.gradients import Krylov, Principal
from dntk.solve import preconditioned_cg, ridge, same_span
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, targets

NUMPY = LIBRARIES[0]


@pytest.mark.parametrize("size", [1, 2, 4, 7])
@pytest.mark.parametrize("lam", [1e-3, 1.0])
def test_regression_on_krylov_gradients_is_conjugate_gradients(size, lam):
    """For every ridge on the same directions: the space does not depend on it."""
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    grads = Krylov(size).distill(phi, y)
    kernel = phi.values @ phi.values.mT
    steps = preconditioned_cg(
        lambda v: (kernel @ v[:, :, None])[:, :, 0] + lam * v, y.T.copy(), lambda r: r, iterations=size
    )
    # Both are the minimiser of the energy over the space; condition 1 + ‖K‖/λ ≤ 1e3 carries their rounding.
    np.testing.assert_allclose(ridge(grads, ridge=lam).dual, steps.solution, atol=1e-9 * np.abs(steps.solution).max())


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_least_squares_on_shared_krylov_gradients_is_partial_least_squares(outputs, size):
    """On one set of features for all outputs, whose targets then share PLS2's weights; ridge to zero."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 12)) * 0.8 ** np.arange(12)
    x -= x.mean(axis=0)
    y = x @ rng.normal(size=(12, outputs)) + 0.3 * rng.normal(size=(30, outputs))
    y -= y.mean(axis=0)
    phi = dntk.TangentFeatures(np.repeat(x[None], outputs, axis=0))
    grads = Krylov(size, per_output=False).distill(phi, y)
    peer = PLSRegression(size, scale=False, max_iter=5000, tol=1e-14).fit(x, y)
    ours = same_span(grads, ridge=1e-10).predict(phi)
    # The peer's power iteration stops at 1e-14 of its squared change, 1e-7 of the weights.
    np.testing.assert_allclose(ours, peer.predict(x).reshape(30, outputs), atol=1e-5 * np.abs(y).max())


def test_span_is_that_of_powers_of_the_kernel(library):
    interpreted(library)
    phi, y = features(library), targets(library)
    u = host(Krylov(3).distill(phi, y).directions).astype("f8")
    for c in range(3):
        values = host(phi.values)[c].astype("f8")
        kernel, column = values @ values.T, host(y).astype("f8")[:, c]
        powers = np.stack([column, kernel @ column, kernel @ kernel @ column], axis=1)
        q = np.linalg.qr(powers)[0]
        # float32 directions where there is no float64, amplified by the condition of the three powers, below 1e2.
        np.testing.assert_allclose(u[c] @ (u[c].T @ q), q, atol=1e-3)


def test_energy_error_falls_with_every_direction():
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    lam = 0.05
    a = phi.values @ phi.values.mT + lam * np.eye(20)
    alpha = np.linalg.solve(a, y.T[:, :, None])[:, :, 0]
    errors = []
    for size in range(1, 12):
        e = alpha - ridge(Krylov(size).distill(phi, y), ridge=lam).dual
        errors.append(np.einsum("cm,cmn,cn->c", e, a, e))
    assert np.all(np.diff(errors, axis=0) <= 1e-12)
    kappa = (np.linalg.norm(phi.values, 2, axis=(1, 2)) ** 2 + lam) / lam
    rate = (np.sqrt(kappa) - 1) / (np.sqrt(kappa) + 1)
    start = np.einsum("cm,cmn,cn->c", alpha, a, alpha)
    for size, error in enumerate(errors, start=1):
        assert np.all(error <= (2 * rate**size) ** 2 * start + 1e-12)


@pytest.mark.parametrize("per_output", [True, False])
def test_exhausted_spaces_go_on_with_leading_eigenvectors(library, per_output):
    interpreted(library)
    values = host(features(library, c=1).values)
    phi = dntk.TangentFeatures(library.array(np.concatenate([values, values])))
    vectors = np.linalg.svd(values[0].astype("f8"))[0]
    y = library.array(np.stack([vectors[:, 2], 0 * vectors[:, 2]], axis=1), "f4")
    u = host(Krylov(4, per_output=per_output).distill(phi, y).directions)
    found = u if per_output else u[None]
    # An eigenvector alone is one direction; the zero target of the second output is none.
    expected = vectors[:, :4]
    for directions in found[:1] if per_output else found:
        np.testing.assert_allclose(directions @ directions.T, expected @ expected.T, atol=2e-3)
    if per_output:
        np.testing.assert_allclose(found[1] @ found[1].T, expected @ expected.T, atol=1e-4)


def test_more_directions_than_the_rank_of_the_features_are_still_orthonormal(library):
    interpreted(library)
    rng = np.random.default_rng(0)
    phi = dntk.TangentFeatures(library.array(rng.normal(size=(2, 9, 2)), "f4"))
    y = library.array(rng.normal(size=(9, 2)), "f4")
    for distiller in (Krylov(9), Krylov(9, per_output=False), Krylov(5)):
        u = host(distiller.distill(phi, y).directions)
        np.testing.assert_allclose(np.swapaxes(u, -1, -2) @ u - np.eye(distiller.size), 0, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-20, 1.0, 1e20])
def test_directions_do_not_depend_on_the_scale(factor):
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    scaled = Krylov(5).distill(dntk.TangentFeatures(phi.values * factor), y * factor)
    u, v = Krylov(5).distill(phi, y).directions, scaled.directions
    np.testing.assert_allclose(u @ u.mT, v @ v.mT, atol=1e-9)


def test_a_krylov_space_predicts_better_than_as_many_principal_directions():
    phi, query = features(NUMPY, dtype="f8", decay=0.95), features(NUMPY, n=9, dtype="f8", seed=9)
    y = (phi.values @ np.random.default_rng(0).normal(size=(3, 40, 1)))[:, :, 0].T
    full = ridge(phi, y, ridge=1e-3).predict(query)
    errors = [
        np.linalg.norm(same_span(d.distill(phi, y), ridge=1e-3).predict(query) - full)
        for d in (Krylov(6), Principal(6))
    ]
    assert errors[0] < errors[1]


@pytest.mark.usefixtures("unchecked")
def test_senseless_sizes_are_refused():
    for size, words in ((0, "positive"), (21, "20 points")):
        with pytest.raises(ValueError, match=words):
            Krylov(size).distill(features(NUMPY), targets(NUMPY))
