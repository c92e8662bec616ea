"""Local-global distillation (Algorithm 1) against what it must satisfy.

* U is orthonormal: ‖UᵀU − I‖ ≤ 8·eps·m·√s (per-cluster eigenvectors, gap columns orthonormalised
  twice).
* A local direction lives on one cluster, and each cluster has at least one.
* Every global eigenvector up to r_g is covered: c_j ≥ τ_g, gap columns or not, up to 4·eps·m and
  the 1e-6 below which a remainder counts as none (1e-12 of energy).
* A budget is kept: s ≤ size.
* With one cluster it is `Principal` of rank r_g: same span. Where λ_r − λ_{r+1} is a gap δ,
  projectors differ by at most 2√r·E/δ with E = 10·n·eps·‖K‖ the rounding of two eigendecompositions
  (Yu, Wang and Samworth, S2, twice).
* No span of s directions loses less of the kernel than the best (E1): tr(K̄ − K̄_Π) ≥ Σ_{i>s} λ_i
  in the span of the joined features.
"""

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import dntk
from dntk.distill.gradients import LocalGlobal, Principal
from dntk.spectrum import leading_eigenpairs
from property_tests.allowances import allowance, defect, eps
from property_tests.strategies import (
    SHAPES,
    build,
    eigenvalues,
    features,
    for_libraries,
    host64,
    orthogonal,
)
from tests.libraries import LIBRARIES

PLAIN = [s for s in SHAPES if s[1] > 1]


def options(library):
    return st.builds(
        LocalGlobal,
        variance=st.sampled_from([0.5, 0.95, 1.0]),
        coverage=st.sampled_from([0.5, 0.9, 1.0]),
        clusters=st.sampled_from([1, 3] if library.module == "jax" else [None, 1, 2, 3, 50]),
        seed=st.integers(0, 2**32 - 1),
    )


@for_libraries(jax_examples=4, case=features(), distiller=options)
def test_directions_are_orthonormal_and_cover_what_was_asked(library, case, distiller):
    phi = case.phi(library)
    grads, diagnosis = distiller.distill(phi, case.y(library)), distiller.diagnose(phi)
    u, m = host64(grads.directions), case.shape[1]
    assert 1 <= u.shape[1] <= m
    assert defect(u) <= 8 * eps(case.dtype) * m * np.sqrt(u.shape[1])
    labels = host64(diagnosis.labels)
    locals_ = sum(diagnosis.local_ranks)
    assert len(diagnosis.local_ranks) == len(np.unique(labels)) <= m
    assert all(r >= 1 for r in diagnosis.local_ranks)
    for column in u.T[:locals_]:
        assert len(np.unique(labels[column != 0])) == 1
    assert locals_ <= u.shape[1] <= locals_ + len(diagnosis.gap)
    _, vectors = leading_eigenpairs(phi.joined(), m)
    leading = host64(vectors)[:, : diagnosis.global_rank]
    covered = np.sum((u.T @ leading) ** 2, axis=0)
    slack = 4 * eps(case.dtype) * m + 2 * defect(u) + 1e-12 * m
    if not library.has_float64:
        slack += 1e-6  # what is left of a column is then known to eps/1e-6 of it
    assert np.all(covered >= distiller.coverage - slack)
    told = host64(diagnosis.local_coverage)
    assert np.all((told >= 0) & (told <= 1))
    assert 0 <= diagnosis.local_gap <= 1
    assert set(diagnosis.gap) == {j for j, c in enumerate(told) if c < distiller.coverage}


@for_libraries(
    jax_examples=4,
    case=features(shapes=PLAIN),
    size=st.integers(1, 6),
    clusters=st.sampled_from([None, 1, 4]),
    variance=st.sampled_from([0.8, 1.0]),
)
def test_budget_is_kept(library, case, size, clusters, variance):
    m = case.shape[1]
    size = min(size, m)
    distiller = LocalGlobal(variance=variance, size=size, clusters=clusters)
    grads = distiller.distill(case.phi(library), case.y(library))
    assert 1 <= grads.size <= size
    assert grads.directions.shape == (m, grads.size)


def test_graph_of_several_pieces_is_clustered_the_same_way_every_time():
    case = build((2, 3, 9), "float32", "clustered", "duplicated", 1e8, False, 25924)
    phi = case.phi(LIBRARIES[0])
    similarities = case.joined @ case.joined.T
    assert np.all(similarities[~np.eye(3, dtype=bool)] < 0)  # three pieces of one point each
    labels = [host64(LocalGlobal(clusters=2, seed=25924).diagnose(phi).labels) for _ in range(10)]
    assert all(np.array_equal(found, labels[0]) for found in labels)


@pytest.mark.parametrize("seed", [0, 1])
def test_one_cluster_is_principal_where_eigenvalues_are_equal(seed):
    phi = dntk.TangentFeatures(orthogonal(np.random.default_rng(seed), 6))
    y = np.ones((6, 1))
    for variance in (0.3, 0.5, 0.7):
        distiller = LocalGlobal(variance=variance, clusters=1)
        rank = distiller.diagnose(phi).global_rank
        assert distiller.distill(phi, y).size == rank
    assert LocalGlobal(size=1, clusters=1).distill(phi, y).size == 1


@pytest.mark.parametrize("size", [1, 2])
def test_budget_is_kept_where_the_spectrum_is_long(size):
    rng = np.random.default_rng(0)
    singular = 1 - 1e-3 * np.arange(200)
    phi = dntk.TangentFeatures(orthogonal(rng, 200) * singular)
    grads = LocalGlobal(size=size).distill(phi, rng.standard_normal((200, 1)))
    assert 1 <= grads.size <= size


@for_libraries(jax_examples=4, case=features(), variance=st.sampled_from([0.3, 0.9, 0.99]))
def test_one_cluster_is_principal(library, case, variance):
    phi, y, m = case.phi(library), case.y(library), case.shape[1]
    values = np.clip(eigenvalues(case.joined @ case.joined.T), 0, None)
    held = np.cumsum(values) / np.sum(values)
    rank = int(np.sum(held < variance)) + 1
    # Not where rounding decides the rank, nor where eigenvectors are not determined.
    assume(np.all(np.abs(held - variance) > 100 * m * eps(case.dtype)))
    error = 10 * case.size * eps(case.dtype) * values[0]
    gap = values[rank - 1] - (values[rank] if rank < m else 0)
    assume(gap > 1e3 * error)
    distiller = LocalGlobal(variance=variance, clusters=1)
    assert distiller.diagnose(phi).global_rank == rank
    ours = host64(distiller.distill(phi, y).directions)
    theirs = host64(Principal(rank).distill(phi, y).directions)
    assert ours.shape == theirs.shape
    distance = np.linalg.norm(ours @ ours.T - theirs @ theirs.T, 2)
    assert distance <= 4 * np.sqrt(rank) * error / gap + 8 * eps(case.dtype) * m


@for_libraries(jax_examples=4, case=features(), distiller=options)
def test_it_never_beats_principal(library, case, distiller):
    grads = distiller.distill(case.phi(library), case.y(library))
    s = grads.size
    trace = np.sum(case.wide**2, axis=(1, 2))
    slack = np.sum([allowance("H1", case.dtype, case.size, t) for t in trace])
    tails = np.sum(np.clip(eigenvalues(case.kernels), 0, None)[:, s:])
    assert grads.trace_residual * np.sum(trace) >= tails - slack
