import numpy as np
import pytest

import dntk
from dntk.distill.gradients import Krylov, LocalGlobal, Principal, Solution
from dntk.distilled_gradients import distil_along
from dntk.solve import ridge, same_span
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, targets

NUMPY = LIBRARIES[0]


@pytest.mark.parametrize(
    "distiller",
    [
        LocalGlobal(clusters=3),
        LocalGlobal(size=6),
        Principal(5),
        Principal(5, per_output=True),
        Solution(5, ridge=0.1),
        Solution(5, ridge=0.1, per_output=False),
        Solution(5, ridge=0.1, multiples=(0.1, 1.0, 10.0)),
        Krylov(5),
        Krylov(5, per_output=False),
    ],
    ids=[
        "local-global",
        "budget",
        "principal",
        "principal-per-class",
        "solution",
        "solution-shared",
        "solution-path",
        "krylov",
        "krylov-shared",
    ],
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


def test_two_outputs_may_lose_less_in_another_shared_span_than_in_the_principal_one():
    """K¹ = e₁e₁ᵀ and K² = 0.49 e₂e₂ᵀ: e₁ loses K², e₁ + e₂ nothing. The best of K̄ is not the best output by output."""
    phi = dntk.TangentFeatures(np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.7]]]))
    y = np.ones((2, 2))
    assert Principal(1).distill(phi, y).trace_residual == pytest.approx(0.49 / 1.49)
    assert distil_along(phi, y, np.full((2, 1), 0.5**0.5)).trace_residual == pytest.approx(0, abs=1e-15)
    assert Principal(1, per_output=True).distill(phi, y).trace_residual == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("make", [Principal, lambda s: Solution(s, ridge=0.1, per_output=False)])
def test_shared_spans_lose_at_least_the_tails_of_each_output_and_at_most_that_of_their_mean(make):
    """The tail of the mean kernel is no lower bound, as was once stated: most cases lose less."""
    below = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = rng.standard_normal((3, 6, 8)) * np.geomspace(1, 0.1, 8)
        phi, s = dntk.TangentFeatures(values), int(rng.integers(3, 6))
        grads = make(s).distill(phi, rng.standard_normal((6, 3)))
        each = np.linalg.eigvalsh(values @ values.mT)[:, ::-1]
        mean = np.linalg.eigvalsh(np.mean(values @ values.mT, axis=0))[::-1]
        solutions = 0 if make is Principal else 3
        lost = grads.trace_residual * np.sum(mean)
        assert np.mean(np.sum(each[:, s:], axis=1)) <= lost * (1 + 1e-9) + 1e-12
        assert lost <= np.sum(mean[s - solutions :]) * (1 + 1e-9)
        below += lost < np.sum(mean[s:])
    assert below > 30


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


def test_many_points_are_distilled_without_dense_factorisations(monkeypatch):
    """The routes for many points, at a size where the dense ones tell what is right."""
    phi, y = features(NUMPY, n=300, k=150, decay=0.5, dtype="f8"), targets(NUMPY, n=300, dtype="f8")
    makes = (
        Principal(6),
        Principal(6, per_output=True),
        Solution(6, ridge=0.05),
        Solution(6, ridge=0.05, per_output=False),
        LocalGlobal(clusters=1, variance=0.99),
        LocalGlobal(clusters=1, size=6),
        Krylov(6),
    )
    exact = [distiller.distill(phi, y) for distiller in makes]
    for name in (
        "spectrum.eigen._EXACT_POINTS",
        "distilled_gradients._ALL_POINTS",
        "distill.gradients.partition._ALL_POINTS",
    ):
        monkeypatch.setattr(f"dntk.{name}", 10)
    for distiller, known in zip(makes, exact, strict=True):
        found = distiller.distill(phi, y)
        u, v = found.directions, known.directions
        np.testing.assert_allclose(u @ u.mT, v @ v.mT, atol=1e-6, err_msg=repr(distiller))
        assert found.gap == pytest.approx(known.gap, abs=1e-6)


def test_planted_clusters_are_found_from_landmarks(monkeypatch):
    monkeypatch.setattr("dntk.distill.gradients._clustering.EXACT_POINTS", 10)
    monkeypatch.setattr("dntk.distill.gradients._clustering.LANDMARKS", 12)
    monkeypatch.setattr("dntk.distill.gradients.partition._ALL_POINTS", 10)
    rng = np.random.default_rng(0)
    values = np.zeros((2, 60, 30))
    for cluster in range(3):
        values[:, 20 * cluster : 20 * cluster + 20, 10 * cluster : 10 * cluster + 10] = rng.random((2, 20, 10))
    phi, y = dntk.TangentFeatures(values), rng.normal(size=(60, 2))
    distiller = LocalGlobal(clusters=3)
    labels = np.asarray(distiller.diagnose(phi).labels).reshape(3, 20)
    assert all(len(set(row)) == 1 for row in labels)
    assert len(set(labels[:, 0])) == 3
    grads = distiller.distill(phi, y)
    for column in grads.directions.T:
        assert len(set(labels.reshape(-1)[np.abs(column) > 0])) == 1
    np.testing.assert_allclose(grads.directions.T @ grads.directions, np.eye(grads.size), atol=1e-9)


def test_points_similar_to_no_landmark_have_a_cluster(monkeypatch):
    monkeypatch.setattr("dntk.distill.gradients._clustering.EXACT_POINTS", 10)
    monkeypatch.setattr("dntk.distill.gradients._clustering.LANDMARKS", 8)
    values = np.concatenate([np.eye(40), np.zeros((2, 40))])[None]
    assert LocalGlobal(clusters=4).distill(dntk.TangentFeatures(values), np.ones((42, 1))).size >= 1


def test_more_directions_than_features_exist_for_many_points(monkeypatch):
    monkeypatch.setattr("dntk.spectrum.eigen._EXACT_POINTS", 10)
    values, vectors = dntk.spectrum.leading_eigenpairs(np.random.default_rng(0).normal(size=(40, 3)), 7)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(7), atol=1e-12)
    np.testing.assert_array_equal(values[3:], 0)


def test_eigenpairs_of_the_mean_kernel_need_no_joined_features(library, monkeypatch):
    interpreted(library)
    phi = features(library, n=120, k=50, decay=0.6)
    exact, _ = dntk.spectrum.leading_eigenpairs(phi.joined(), 5)
    monkeypatch.setattr("dntk.spectrum.eigen._EXACT_POINTS", 10)
    values, vectors = dntk.spectrum.mean_eigenpairs(phi, 5)
    np.testing.assert_allclose(host(values), host(exact), rtol=1e-4)
    images = host(phi.kernel()).astype("f8") @ host(vectors)
    np.testing.assert_allclose(images, host(vectors) * host(values), atol=1e-4 * float(values[0]))
