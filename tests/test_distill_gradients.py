import numpy as np
import pytest

import dntk
from dntk.distill.gradients import LocalGlobal, Principal, Solution
from dntk.distilled_gradients import distil_along
from dntk.solve import ridge, same_span
from tests.libraries import LIBRARIES, host
from tests.networks import features, targets

NUMPY = LIBRARIES[0]


@pytest.mark.parametrize(
    "distiller",
    [LocalGlobal(clusters=3), LocalGlobal(size=6), Principal(5), Principal(5, per_class=True), Solution(4, ridge=0.1)],
    ids=["local-global", "budget", "principal", "per-class", "solution"],
)
def test_every_distiller_returns_consistent_orthonormal_gradients(library, distiller):
    phi, y = features(library), targets(library)
    grads = distiller.distill(phi, y)
    u, s = host(grads.directions), grads.size
    np.testing.assert_allclose(np.swapaxes(u, -1, -2) @ u - np.eye(s), 0, atol=1e-5)
    shared = u if u.ndim == 3 else np.broadcast_to(u, (3, *u.shape))
    np.testing.assert_allclose(host(grads.values), np.swapaxes(shared, 1, 2) @ host(phi.values), atol=1e-5)
    np.testing.assert_allclose(host(grads.targets), np.einsum("cms,mc->cs", shared, host(y)), atol=1e-5)
    assert 0 <= grads.trace_residual <= 1
    assert 0 <= grads.gap <= 1
    assert host(grads.coverage).min() >= 0
    assert host(grads.coverage).max() <= 1


def test_trace_residual_is_the_part_of_the_kernels_outside_the_span():
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    grads = Principal(4).distill(phi, y)
    lost = total = 0.0
    for c in range(3):
        basis = np.linalg.qr(grads.values[c].T)[0]
        lost += np.sum((phi.values[c] - phi.values[c] @ basis @ basis.T) ** 2)
        total += np.sum(phi.values[c] ** 2)
    assert grads.trace_residual == pytest.approx(lost / total, rel=1e-9)


def test_local_global_with_one_cluster_spans_the_principal_directions(library):
    phi, y = features(library), targets(library)
    local = LocalGlobal(clusters=1, variance=0.9).distill(phi, y)
    principal = Principal(local.size).distill(phi, y)
    left, right = host(local.directions), host(principal.directions)
    np.testing.assert_allclose(left @ left.T, right @ right.T, atol=1e-4)


def test_local_global_finds_planted_clusters():
    rng = np.random.default_rng(0)
    values = np.zeros((1, 24, 30))
    for cluster in range(3):
        values[0, 8 * cluster : 8 * cluster + 8, 10 * cluster : 10 * cluster + 10] = rng.random((8, 10))
    diagnosis = LocalGlobal(clusters=3).diagnose(dntk.TangentFeatures(values))
    labels = np.asarray(diagnosis.labels).reshape(3, 8)
    assert all(len(set(row)) == 1 for row in labels)
    assert len(set(labels[:, 0])) == 3
    # Blocks do not overlap, so that local eigenvectors are global ones: nothing is missed.
    assert diagnosis.local_gap < 0.05
    assert diagnosis.gap == ()


def test_local_global_adds_global_directions_that_clusters_miss():
    phi, y = features(NUMPY, decay=0.9, dtype="f8"), targets(NUMPY, dtype="f8")
    strict = LocalGlobal(clusters=4, variance=0.6, coverage=0.999)
    diagnosis = strict.diagnose(phi)
    assert diagnosis.gap
    grads = strict.distill(phi, y)
    _, leading = dntk.spectrum.leading_eigenpairs(phi.joined(), diagnosis.global_rank)
    covered = dntk.spectrum.coverage(leading, grads.directions)
    np.testing.assert_allclose(covered[list(diagnosis.gap)], 1, atol=1e-9)
    assert LocalGlobal(clusters=4, variance=0.6, coverage=0.001).distill(phi, y).size < grads.size


def test_local_global_keeps_to_its_budget():
    phi, y = features(NUMPY, decay=0.95), targets(NUMPY)
    for size in (1, 2, 3, 7, 20):
        assert LocalGlobal(clusters=6, size=size).distill(phi, y).size <= size


def test_local_global_survives_points_without_similarity_and_duplicates():
    values = np.concatenate([np.eye(6), np.eye(6)[:3], np.zeros((2, 6))])[None]
    grads = LocalGlobal(clusters=4).distill(dntk.TangentFeatures(values), np.ones((11, 1)))
    assert grads.size >= 4


def test_principal_directions_lose_least_trace():
    phi, y = features(NUMPY, c=1, dtype="f8"), targets(NUMPY, c=1, dtype="f8")
    best = Principal(4).distill(phi, y).trace_residual
    rng = np.random.default_rng(5)
    for _ in range(20):
        u = np.linalg.qr(rng.normal(size=(20, 4)))[0]
        assert distil_along(phi, y, u).trace_residual >= best


def test_principal_finds_the_same_directions_by_randomized_iteration(monkeypatch):
    phi, y = features(NUMPY, c=1, n=120, k=150, decay=0.5, dtype="f8"), targets(NUMPY, c=1, n=120, dtype="f8")
    exact = Principal(5).distill(phi, y)
    monkeypatch.setattr("dntk.spectrum.eigen._EXACT_POINTS", 10)
    values, vectors = dntk.spectrum.leading_eigenpairs(phi.joined(), 5)
    np.testing.assert_allclose(vectors @ vectors.T, exact.directions @ exact.directions.T, atol=1e-6)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(phi.kernel())[::-1][:5], rtol=1e-9)


def test_one_solution_gradient_reproduces_full_ridge_regression(library):
    phi, y, query = features(library), targets(library), features(library, n=9, seed=12)
    full = host(ridge(phi, y, ridge=0.05).predict(query))
    grads = Solution(1, ridge=0.05).distill(phi, y)
    for fit in (ridge(grads), same_span(grads)):
        np.testing.assert_allclose(host(fit.predict(query)), full, atol=1e-4 * np.abs(full).max())


def test_solution_takes_a_principal_direction_where_the_solution_is_one():
    phi = features(NUMPY, c=1, dtype="f8")
    vectors = dntk.spectrum.leading_eigenpairs(phi.values, 3)[1]
    grads = Solution(3, ridge=0.1).distill(phi, vectors[0, :, 1:2].copy())
    np.testing.assert_allclose(grads.directions[0] @ grads.directions[0].T, vectors[0] @ vectors[0].T, atol=1e-8)


def test_gradients_of_more_features_than_rank_keep_the_whole_kernel():
    values = np.random.default_rng(0).normal(size=(2, 12, 3))
    grads = Principal(8).distill(dntk.TangentFeatures(values), np.ones((12, 2)))
    assert grads.size == 8
    assert grads.trace_residual < 1e-12


def test_a_single_point_is_distilled_into_itself(library):
    phi = dntk.TangentFeatures(library.array([[[3.0, 4.0]]], "f4"))
    y = library.array([[2.0]], "f4")
    for distiller in (Principal(1), LocalGlobal(), Solution(1, ridge=1.0)):
        fit = same_span(distiller.distill(phi, y), ridge=1.0)
        assert float(fit.predict(phi)[0, 0]) == pytest.approx(2 * 25 / 26, rel=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("distiller", [Principal(21), Solution(21), LocalGlobal(size=21)])
def test_more_gradients_than_points_are_refused(distiller):
    with pytest.raises(ValueError, match="`size`=21 gradients are asked of 20 points"):
        distiller.distill(features(NUMPY), targets(NUMPY))


@pytest.mark.parametrize("distiller", [Principal(2), Solution(2), LocalGlobal()])
def test_a_dead_network_is_refused(distiller):
    with pytest.raises(ValueError, match="features are zero"):
        distiller.distill(dntk.TangentFeatures(np.zeros((2, 5, 4))), np.ones((5, 2)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LocalGlobal(variance=0),
        lambda: LocalGlobal(coverage=1.5),
        lambda: LocalGlobal(clusters=0),
        lambda: Principal(0).distill(features(NUMPY), targets(NUMPY)),
    ],
)
def test_senseless_settings_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_directions_that_are_not_orthonormal_are_refused():
    with pytest.raises(ValueError, match="not orthonormal"):
        distil_along(features(NUMPY), targets(NUMPY), np.ones((20, 2), dtype="f4"))
