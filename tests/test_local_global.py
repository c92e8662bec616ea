"""What Algorithm 1 reports of itself, recomputed from the dense kernel."""

import numpy as np
import pytest

import dntk
from dntk.distill.gradients import LocalGlobal, low_rank
from dntk.spectrum import truncation_rank
from dntk.testing.features import build_features


def planted(clusters, outputs, points=8, dim=4, seed=0):
    """Points in groups that share no feature."""
    rng = np.random.default_rng(seed)
    values = np.zeros((outputs, clusters * points, clusters * dim))
    for h in range(clusters):
        values[:, h * points : (h + 1) * points, h * dim : (h + 1) * dim] = rng.random((outputs, points, dim))
    return dntk.TangentFeatures(values)


def descending(kernel):
    values, vectors = np.linalg.eigh(kernel)
    return values[::-1], vectors[:, ::-1]


@pytest.mark.parametrize("outputs", [1, 3, 4])
def test_there_are_as_many_clusters_as_outputs_unless_told_otherwise(outputs):
    assert len(LocalGlobal().diagnose(planted(4, outputs)).local_ranks) == outputs
    assert len(LocalGlobal(clusters=2).diagnose(planted(4, outputs)).local_ranks) == 2


def test_the_local_gap_weighs_eigenvectors_by_their_eigenvalues():
    rng = np.random.default_rng(3)
    phi = dntk.TangentFeatures(rng.normal(size=(2, 24, 12)) * 0.7 ** np.arange(12))
    found = LocalGlobal(clusters=3, variance=0.6).diagnose(phi)
    kernel = np.einsum("cik,cjk->ij", phi.values, phi.values) / 2
    values, vectors = descending(kernel)
    covered = np.zeros(found.global_rank)
    for cluster, rank in zip(np.unique(found.labels), found.local_ranks, strict=True):
        inside = np.flatnonzero(np.asarray(found.labels) == cluster)
        _, local = descending(kernel[np.ix_(inside, inside)])
        covered += np.sum((local[:, :rank].T @ vectors[inside, : found.global_rank]) ** 2, axis=0)
    missed = 1 - np.sum(values[: found.global_rank] * covered) / np.sum(values[: found.global_rank])
    assert found.local_gap == pytest.approx(missed, abs=1e-10)
    assert abs(missed - np.mean(1 - covered)) > 0.01  # the unweighted gap is another number


def test_ranks_of_clusters_hold_the_variance_of_the_mean_kernel_beyond_a_few_thousand_points_too(monkeypatch):
    """Many outputs: eigenvalues of Σ_c K^c for those of K̄ would seem to hold the variance C times over."""
    rng = np.random.default_rng(4)
    values = np.zeros((3, 160, 160))
    for h in range(2):
        values[:, 80 * h : 80 * h + 80, 80 * h : 80 * h + 80] = rng.random((3, 80, 80)) * 0.9 ** np.arange(80)
    phi, distiller = dntk.TangentFeatures(values), LocalGlobal(clusters=2, variance=0.97)
    exact = distiller.diagnose(phi)
    for name in ("distill.gradients.partition._ALL_POINTS", "spectrum.eigen._EXACT_POINTS"):
        monkeypatch.setattr(f"dntk.{name}", 10)
    monkeypatch.setattr("dntk.distill.gradients.partition._FIRST_WIDTH", 2)
    found = distiller.diagnose(phi)
    assert min(exact.local_ranks) > 1
    assert sorted(found.local_ranks) == sorted(exact.local_ranks)
    assert found.global_rank == exact.global_rank


def test_the_truncation_rank_is_that_of_every_outputs_own_kernel():
    spectra = [4 * 0.5 ** np.arange(6), np.ones(6), np.array([1, 0.5, 0, 0, 0, 0])]
    phi = dntk.TangentFeatures(np.stack([np.diag(np.sqrt(s)) for s in spectra]))
    assert low_rank(phi, 0.05).ranks == (4, 6, 2)
    assert low_rank(phi, 0.05).ranks == tuple(truncation_rank(np.diag(s), 0.05) for s in spectra)


def test_pieces_of_which_many_eigenvalues_are_equal_are_clustered():
    case = build_features((1, 7, 3), "float32", "clustered", "plain", 1e8, False, 1346478)
    found = LocalGlobal(variance=0.5, clusters=3).diagnose(dntk.TangentFeatures(case.values))
    assert len(found.local_ranks) <= 3
