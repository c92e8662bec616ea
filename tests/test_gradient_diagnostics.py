import numpy as np
import pytest

import dntk
from dntk.certificates import span_certificate
from dntk.distill.gradients import (
    Krylov,
    LocalGlobal,
    LocalGlobalSearch,
    Principal,
    Solution,
    coverage_curve,
    coverage_gaps,
    low_rank,
)
from dntk.distill.gradients.diagnostics import largest_local_coverage
from dntk.solve import ridge, same_span
from dntk.spectrum import coverage, leading_eigenpairs, truncation_rank
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, targets

NUMPY = LIBRARIES[0]


def test_coverage_curve_of_principal_directions_is_one_and_then_none(library):
    interpreted(library)
    phi, y = features(library), targets(library)
    for per_output in (False, True):
        curve = coverage_curve(phi, Principal(4, per_output=per_output).distill(phi, y), 9)
        covered, gap = host(curve.covered), host(curve.gap)
        np.testing.assert_allclose(covered[..., :4], 1, atol=1e-4)
        np.testing.assert_allclose(covered[..., 4:], 0, atol=1e-4)
        np.testing.assert_allclose(gap[..., :4], 0, atol=1e-4)
        assert np.all(np.diff(gap[..., 3:]) > 0)


def test_coverage_curve_is_the_squared_projection():
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    grads = Krylov(5, per_output=False).distill(phi, y)
    curve = coverage_curve(phi, grads, 6)
    values, vectors = np.linalg.eigh(phi.kernel())
    values, vectors = values[::-1][:6], vectors[:, ::-1][:, :6]
    residual = vectors - grads.directions @ (grads.directions.T @ vectors)
    np.testing.assert_allclose(curve.covered, 1 - np.sum(residual**2, axis=0), atol=1e-10)
    missed = np.cumsum(values * (1 - curve.covered)) / np.cumsum(values)
    np.testing.assert_allclose(curve.gap, missed, atol=1e-10)


def test_truncation_ranks_are_those_of_every_kernel(library):
    interpreted(library)
    phi = features(library)
    found = low_rank(phi, 0.1)
    for c, rank in enumerate(found.ranks):
        assert rank == truncation_rank(phi.values[c, :, :] @ phi.values[c, :, :].T, 0.1)
    assert found.eigenvalues.shape == (3, 20)


def test_the_papers_coverage_can_be_whole_where_one_percent_is_covered():
    """A vector with 1% of its energy in a cluster that is spanned whole."""
    u = np.array([np.sqrt(0.01), np.sqrt(0.495), np.sqrt(0.495)])[:, None]
    local = np.array([1.0, 0.0, 0.0])[:, None]
    members = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    columns = np.array([[1.0, 0.0]])
    assert float(coverage(u, local)[0]) == pytest.approx(0.01)
    assert float(dntk.spectrum.largest_coverage(u, local, columns, members)[0]) == pytest.approx(1)


def test_gaps_of_every_output_follow_from_the_local_directions(library):
    interpreted(library)
    phi = features(library, decay=0.9)
    distiller = LocalGlobal(clusters=3, variance=0.6)
    gaps = coverage_gaps(phi, distiller)
    local = host(gaps.diagnosis.local_directions).astype("f8")
    for c in range(3):
        kernel = host(phi.values)[c].astype("f8")
        values, vectors = np.linalg.eigh(kernel @ kernel.T)
        rank = low_rank(phi).ranks[c]
        values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
        missed = 1 - np.sum(values * np.sum((local.T @ vectors) ** 2, axis=0)) / np.sum(values)
        assert gaps.each[c] == pytest.approx(missed, abs=1e-4)
        assert gaps.each_largest[c] <= gaps.each[c] + 1e-6
    assert 0 <= gaps.mean_largest <= gaps.mean + 1e-6


def test_largest_coverage_is_a_maximum_over_clusters():
    phi = features(NUMPY, decay=0.9, dtype="f8")
    found = LocalGlobal(clusters=3, variance=0.6).diagnose(phi)
    vectors = leading_eigenpairs(phi.joined(), 5)[1]
    labels, start, shares = np.asarray(found.labels), 0, []
    for h, rank in zip(np.unique(labels), found.local_ranks, strict=True):
        inside = vectors[labels == h]
        basis = found.local_directions[labels == h, start : start + rank]
        shares.append(np.sum((basis.T @ inside) ** 2, axis=0) / np.sum(inside**2, axis=0))
        start += rank
    np.testing.assert_allclose(largest_local_coverage(vectors, found), np.max(shares, axis=0), atol=1e-12)


@pytest.mark.parametrize("distiller", [Principal(5), Krylov(3), LocalGlobal(size=6), Solution(3, ridge=0.3)])
@pytest.mark.parametrize("lam", [1e-2, 1.0])
def test_certificates_hold_against_the_exact_regression(distiller, lam):
    phi, y, query = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8"), features(NUMPY, dtype="f8", seed=12)
    grads = distiller.distill(phi, y)
    found = span_certificate(grads, ridge=lam)
    exact = ridge(phi, y, ridge=lam)
    a = phi.values @ phi.values.mT + lam * np.eye(20)
    e = exact.dual - ridge(grads, ridge=lam).dual
    energy = np.sqrt(np.einsum("cm,cmn,cn->c", e, a, e))
    assert np.all(energy <= found.energy.value + 1e-10)
    assert np.all(
        found.energy.value <= energy * np.sqrt(1 + np.linalg.norm(phi.values, 2, axis=(1, 2)) ** 2 / lam) + 1e-10
    )

    def objective(w):
        return np.sum((y.T - (phi.values @ w[:, :, None])[:, :, 0]) ** 2, axis=1) + lam * np.sum(w**2, axis=1)

    better = same_span(grads, ridge=lam)
    assert np.all(objective(better.weights) - objective(exact.weights) <= found.objective.value + 1e-10)
    truth = exact.predict(query)
    assert np.all(np.abs(ridge(grads, ridge=lam).predict(query) - truth) <= found.galerkin_bound(query).value + 1e-9)
    assert np.all(np.abs(better.predict(query) - truth) <= found.same_span_bound(query).value + 1e-6)
    assert grads.trace_residual < float(found.trace_residual) < grads.trace_residual + 1e-12


def test_certificate_of_the_solution_itself_is_rounding(library):
    phi, y = features(library), targets(library)
    found = span_certificate(Solution(1, ridge=0.1).distill(phi, y))
    assert found.ridge == 0.1
    assert host(found.energy.value).max() < 1e-3 * np.linalg.norm(host(y)) / 0.1**0.5


def test_search_takes_the_least_validation_error_and_tells_all():
    phi, y = features(NUMPY, decay=0.9), targets(NUMPY)
    validation, truth = features(NUMPY, n=9, seed=12), targets(NUMPY, n=9, seed=13)
    search = LocalGlobalSearch(variances=(0.6, 0.9), coverages=(0.5, 0.99), clusters=(1, 3))
    choice = search.select(phi, y, validation, truth, ridge=0.1)
    assert len(choice.trials) == 8
    assert choice.distiller == min(choice.trials, key=lambda t: t.mse).distiller
    for trial in choice.trials:
        grads = trial.distiller.distill(phi, y)
        predicted = ridge(grads, ridge=0.1).predict(validation)
        assert trial.size == grads.size
        assert trial.mse == pytest.approx(np.mean((predicted - truth) ** 2), rel=1e-3)
    np.testing.assert_array_equal(choice.gradients.directions, choice.distiller.distill(phi, y).directions)


def test_search_keeps_to_a_budget():
    phi, y = features(NUMPY), targets(NUMPY)
    choice = LocalGlobalSearch(size=4, clusters=(2, 6)).select(phi, y, phi, y)
    assert all(trial.size <= 4 for trial in choice.trials)


def test_search_refuses_an_empty_grid_and_foreign_features():
    with pytest.raises(ValueError, match="`clusters` is empty"):
        LocalGlobalSearch(clusters=())
    phi, y = features(NUMPY), targets(NUMPY)
    with pytest.raises(ValueError, match="`validation` has 2 outputs"):
        LocalGlobalSearch().select(phi, y, features(NUMPY, c=2), y)


def test_curves_of_other_points_are_refused():
    phi, y = features(NUMPY), targets(NUMPY)
    with pytest.raises(ValueError, match="`grads` was distilled from 20 points"):
        coverage_curve(features(NUMPY, n=7), Principal(2).distill(phi, y))
    with pytest.raises(ValueError, match="`epsilon`"):
        low_rank(phi, 1.0)
