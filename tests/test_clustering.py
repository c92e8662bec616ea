"""Spectral clusters against the textbook's matrices, of all points and from landmarks."""

import numpy as np

import dntk
from dntk.distill.gradients import _clustering
from dntk.distill.gradients._clustering import embedding, spectral_clusters
from tests.libraries import host


def cloud(points=30, dim=4, seed=0):
    """Features without clusters, whose kernel has many negative entries."""
    return dntk.TangentFeatures(np.random.default_rng(seed).normal(size=(2, points, dim)))


def neighbours(phi):
    """max(K̄, 0) without its diagonal, entry by entry."""
    kernel = np.einsum("cik,cjk->ij", phi.values, phi.values) / phi.n_outputs
    assert (kernel < 0).any()
    kernel[kernel < 0] = 0
    return kernel * (1 - np.eye(len(phi)))


def textbook(weights, clusters):
    """Leading eigenvalues μ of D^{-1/2}WD^{-1/2} and D^{-1/2}v, by one dense eigendecomposition."""
    root = np.sqrt(weights.sum(axis=1))
    values, vectors = np.linalg.eigh(weights / root[:, None] / root)
    return values[::-1][:clusters], (vectors / root[:, None])[:, ::-1][:, :clusters]


def up_to_signs(rows):
    """Inner products of the rows, scaled to one: signs of eigenvectors and the unit of degrees drop out."""
    products = rows @ rows.T
    return products / np.linalg.norm(products)


def test_the_embedding_is_that_of_the_normalised_adjacency_without_its_diagonal(library):
    phi = cloud()
    _, expected = textbook(neighbours(phi), 3)
    placed = dntk.TangentFeatures(library.array(phi.values.astype("f4")))
    found = embedding(placed, np.arange(len(phi)), 3)
    # The kernel of float32 features has errors of a few 1e-7, and the third eigenvalue a gap of a few hundredths.
    np.testing.assert_allclose(up_to_signs(found), up_to_signs(expected), atol=1e-5)


def test_points_beyond_the_landmarks_are_embedded_by_nystroms_formula():
    phi, landmarks = cloud(), np.arange(0, 30, 2)
    chosen = phi[landmarks]
    values, own = textbook(neighbours(chosen), 3)
    kernel = np.einsum("cik,cjk->ij", phi.values, chosen.values) / 2
    weights = np.where(kernel > 0, kernel, 0)
    expected = weights @ own / weights.sum(axis=1)[:, None] / values
    expected[landmarks] = own
    found = embedding(phi, landmarks, 3)
    np.testing.assert_allclose(up_to_signs(found), up_to_signs(expected), atol=1e-10)


def test_landmarks_are_their_own_extension():
    phi = cloud()
    weights = neighbours(phi)
    values, rows = textbook(weights, 3)
    np.testing.assert_allclose(weights @ rows / weights.sum(axis=1)[:, None] / values, rows, atol=1e-12)
    np.testing.assert_allclose(up_to_signs(embedding(phi, np.arange(len(phi)), 3)), up_to_signs(rows), atol=1e-10)


def test_both_ways_agree_where_all_points_are_landmarks(monkeypatch):
    phi = cloud()
    whole = host(spectral_clusters(phi, 3, seed=5))
    monkeypatch.setattr(_clustering, "EXACT_POINTS", 0)
    monkeypatch.setattr(_clustering, "LANDMARKS", len(phi))
    np.testing.assert_array_equal(host(spectral_clusters(phi, 3, seed=5)), whole)


def test_a_large_norm_makes_no_cluster_of_its_own():
    """A point's product with itself says nothing of its neighbours, however long its features are."""
    rng = np.random.default_rng(1)
    values = np.zeros((1, 20, 8))
    values[0, :10, :4], values[0, 10:, 4:] = rng.random((10, 4)), rng.random((10, 4))
    values[0, 0, :] *= 100
    labels = host(spectral_clusters(dntk.TangentFeatures(values), 2, seed=0))
    assert len(set(labels[:10])) == len(set(labels[10:])) == 1
    assert labels[0] != labels[10]


def test_clusters_of_points_without_any_depend_on_the_seed_alone():
    phi = cloud(150, dim=8)  # so many clusters have many local optima
    found = [tuple(host(spectral_clusters(phi, 15, seed=seed))) for seed in (0, 1, 2, 3, 0)]
    assert found[0] == found[-1]
    assert len({frozenset(map(frozenset, _members(labels))) for labels in found}) > 1


def test_landmarks_depend_on_the_seed(monkeypatch):
    phi, seen = cloud(), []
    monkeypatch.setattr(_clustering, "EXACT_POINTS", 0)
    monkeypatch.setattr(_clustering, "LANDMARKS", 10)
    plain = _clustering.embedding

    def noting(features, landmarks, clusters):
        seen.append(tuple(landmarks))
        return plain(features, landmarks, clusters)

    monkeypatch.setattr(_clustering, "embedding", noting)
    for seed in (0, 1, 0):
        spectral_clusters(phi, 3, seed=seed)
    assert seen[0] == seen[2] != seen[1]
    assert len(set(seen[0])) == 10


def test_dead_points_alone_among_the_landmarks_still_have_an_embedding():
    values = np.concatenate([np.zeros((1, 4, 3)), np.ones((1, 4, 3))], axis=1)
    assert np.isfinite(embedding(dntk.TangentFeatures(values), np.arange(4), 2)).all()


def _members(labels):
    return [np.flatnonzero(np.asarray(labels) == label) for label in set(labels)]
