import numpy as np
import pytest

import dntk
from dntk.distill.gradients import Principal, Solution
from dntk.distill.gradients.orthonormal import REDUNDANT, extended
from dntk.solve import ridge, same_span
from dntk.spectrum import leading_eigenpairs
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, targets

NUMPY = LIBRARIES[0]


def test_shared_directions_hold_every_outputs_solution_where_there_are_as_many(library):
    phi, y, query = features(library), targets(library), features(library, n=9, seed=12)
    full = host(ridge(phi, y, ridge=0.05).predict(query))
    grads = Solution(3, ridge=0.05, per_output=False).distill(phi, y)
    assert grads.directions.shape == (20, 3)
    for fit in (ridge(grads), same_span(grads)):
        np.testing.assert_allclose(host(fit.predict(query)), full, atol=1e-4 * np.abs(full).max())


def test_fewer_shared_directions_than_solutions_keep_their_principal_components():
    """The Galerkin error summed over outputs, in the norm of K̄ + λI, is least: that of the tail of the Gram matrix."""
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    lam = 0.05
    kernels = phi.values @ phi.values.mT
    alphas = np.linalg.solve(kernels + lam * np.eye(20), y.T[:, :, None])[:, :, 0].T
    mean = kernels.mean(axis=0) + lam * np.eye(20)
    values = np.linalg.eigvalsh(alphas.T @ mean @ alphas)[::-1]
    for size in (1, 2):
        u = Solution(size, ridge=lam, per_output=False).distill(phi, y).directions
        projected = u @ np.linalg.solve(u.T @ mean @ u, u.T @ mean @ alphas)
        e = alphas - projected
        assert np.trace(e.T @ mean @ e) == pytest.approx(values[size:].sum(), rel=1e-6)


@pytest.mark.parametrize("per_output", [True, False])
def test_solutions_at_several_ridges_are_right_along_the_path(per_output):
    phi, y, query = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8"), features(NUMPY, n=9, dtype="f8", seed=12)
    multiples = (0.1, 1.0, 10.0)
    size = 3 if per_output else 9
    grads = Solution(size, ridge=0.05, multiples=multiples, per_output=per_output, iterations=60).distill(phi, y)
    for multiple in multiples:
        full = ridge(phi, y, ridge=0.05 * multiple).predict(query)
        found = ridge(grads, ridge=0.05 * multiple).predict(query)
        np.testing.assert_allclose(found, full, atol=1e-6 * np.abs(full).max())
    between = ridge(phi, y, ridge=0.15).predict(query)
    alone = Solution(size, ridge=0.05, per_output=per_output).distill(phi, y)
    errors = [np.abs(same_span(g, ridge=0.15).predict(query) - between).max() for g in (grads, alone)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("per_output", [True, False])
def test_solutions_are_found_where_the_preconditioner_knows_one_eigenvector(per_output):
    """Conjugate gradients need about √κ·ln(2/ε)/2 ≈ 40 steps for κ ≈ 20 and ε = 1e-8, far more than the first few."""
    phi = features(NUMPY, n=60, k=80, decay=0.97, dtype="f8")
    y, lam = targets(NUMPY, n=60, dtype="f8"), 0.05
    kernels = phi.values @ phi.values.mT
    alphas = np.linalg.solve(kernels + lam * np.eye(60), y.T[:, :, None])
    grads = Solution(3, ridge=lam, rank=1, iterations=60, per_output=per_output).distill(phi, y)
    u = grads.directions
    left = alphas - u @ (u.mT @ alphas)
    assert np.linalg.norm(left) <= 1e-6 * np.linalg.norm(alphas)


def test_principal_directions_follow_the_solutions():
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    u = Solution(6, ridge=0.1, multiples=(0.1, 1.0)).distill(phi, y).directions
    vectors = leading_eigenpairs(phi.values, 4)[1]
    np.testing.assert_allclose(u @ (u.mT @ vectors), vectors, atol=1e-10)
    shared = Solution(6, ridge=0.1, per_output=False).distill(phi, y).directions
    leading = leading_eigenpairs(phi.joined(), 3)[1]
    np.testing.assert_allclose(shared @ (shared.T @ leading), leading, atol=1e-10)


def test_shared_and_own_directions_agree_where_all_kernels_are_equal(library):
    interpreted(library)
    one = host(features(library, c=1).values)
    phi = dntk.TangentFeatures(library.array(np.repeat(one, 3, axis=0)))
    column = host(targets(library, c=1))
    y = library.array(np.repeat(column, 3, axis=1))
    for make in (
        lambda per_output: Principal(4, per_output=per_output),
        lambda per_output: dntk.distill.gradients.Krylov(4, per_output=per_output),
        lambda per_output: Solution(4, ridge=0.1, per_output=per_output),
    ):
        shared = host(make(False).distill(phi, y).directions)
        each = host(make(True).distill(phi, y).directions)
        for u in each:
            np.testing.assert_allclose(u @ u.T, shared @ shared.T, atol=1e-3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("multiples", [(), (0.0,), (1.0, -1.0)])
def test_senseless_multiples_are_refused(multiples):
    with pytest.raises(ValueError, match="multiples|positive"):
        Solution(2, multiples=multiples)


def test_candidates_almost_in_the_span_become_orthogonal_to_it(library):
    """One pass of Gram-Schmidt would leave eps over the share of the candidate outside the span."""
    rng = np.random.default_rng(0)
    kept, _ = np.linalg.qr(rng.normal(size=(60, 12)))
    kept = host(library.array(kept[None], "f4")).astype("f4")
    outside = rng.normal(size=(60, 1))
    outside /= np.linalg.norm(outside)
    candidate = kept[0] @ rng.normal(size=(12, 1)) / 12**0.5 + 20 * REDUNDANT * outside
    found = host(extended(library.array(kept, "f4"), library.array(candidate[None], "f4"), 13)).astype("f8")[0]
    assert np.linalg.norm(found[:, 12]) > 0.5  # it was taken
    # Two passes: rounding of a product of 60 terms for each of 12 directions, and that of making the basis float32.
    assert np.linalg.norm(found[:, :12].T @ found[:, 12]) <= 60 * 12**0.5 * 2**-23


@pytest.mark.parametrize("per_output", [True, False])
def test_kernels_that_were_formed_before_give_the_same_directions(library, per_output):
    phi, y = features(library), targets(library)
    wide = host(phi.values).astype(float)
    kernels = library.array(wide @ wide.transpose(0, 2, 1), dtype="f8" if library.has_float64 else "f4")
    distiller = Solution(4, ridge=0.05, per_output=per_output)
    found, plain = distiller.distill_by(phi, y, kernels), distiller.distill(phi, y)
    for name in ("directions", "coverage", "values"):
        # Eigenvectors of one matrix have a sign, which rounding may turn.
        own, other = (np.abs(host(getattr(grads, name))) for grads in (found, plain))
        np.testing.assert_allclose(own, other, atol=2e-3 * np.max(other))
    span, reference = (host(grads.basis).astype(float) for grads in (found, plain))
    np.testing.assert_allclose(span.transpose(0, 2, 1) @ span, reference.transpose(0, 2, 1) @ reference, atol=2e-3)


def test_kernels_that_were_formed_before_are_what_is_used():
    """Of each output its own: solutions and eigenvectors are those of the kernels, whatever the features say."""
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(3, 20, 25))
    kernels = factors @ factors.transpose(0, 2, 1)
    directions = Solution(4, ridge=0.5).distill_by(phi, y, kernels).directions
    for c in range(3):
        expected = np.linalg.solve(kernels[c] + 0.5 * np.eye(20), y[:, c])
        vectors = np.linalg.eigh(kernels[c])[1][:, -3:]
        u = directions[c]
        for vector in (expected, *vectors.T):
            np.testing.assert_allclose(u @ (u.T @ vector), vector, atol=1e-6 * np.linalg.norm(vector))
