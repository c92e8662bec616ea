"""Inequalities that look right and are not: each fails here in numbers; the library's form holds on the same input."""

import math

import numpy as np
import pytest

import dntk
from dntk.certificates import (
    all_angles,
    distilled_eigenvalues,
    eigenvalues_near,
    energy_error,
    largest_angle,
    posterior_variance,
    sketch_gains,
    sketched_singular_values,
)
from dntk.certificates.sketch import exact_upper_factors
from dntk.distill.gradients import Streaming
from dntk.distilled_gradients import distil_along
from dntk.sketch import Gaussian, Kronecker
from dntk.sketch.error import FROBENIUS
from dntk.sketch.layout import layout_of_shapes
from dntk.solve._nystrom import FeatureProjection, ShiftedCholesky
from dntk.spectrum import coverage
from dntk.spectrum._coverage import largest_coverage
from property_tests.allowances import allowance
from property_tests.strategies import eigenvalues, orthogonal

EPS = 2.0**-52


def test_davis_kahan_with_constant_one_and_the_gap_of_the_kernel_alone():
    """K = diag(1, 0), K̂ = diag(0.4, 0.6): ‖E‖/gap = 0.6, and the leading eigenvector turned by a right angle."""
    kernel, other = np.diag([1.0, 0.0]), np.diag([0.4, 0.6])
    spectral = float(np.linalg.norm(kernel - other, 2))
    turned = abs(np.linalg.eigh(other)[1][0, -1])
    sine = math.sqrt(1 - turned**2)
    assert sine == pytest.approx(1.0)
    assert spectral / (1.0 - 0.0) == pytest.approx(0.6)  # the naive bound, below the truth
    place = {"norm": 1.0, "eps": EPS, "size": 2}
    # The gap between the matrices is 1 − 0.4: 0.6/0.6 = 1, an equality.
    assert 1.0 - 1e-14 <= float(largest_angle(spectral, 1.0, 0.4, **place)) <= 1.0
    assert float(all_angles(spectral, spectral * math.sqrt(2), 1.0, 0.0, rank=1, **place)) == 1.0


def test_interlacing_of_directions_that_are_only_of_unit_norm():
    """Columns at 60 degrees: λ_1(XᵀX) = 1.5 above λ_1(I) = 1; Ostrowski's factor ‖X‖² = 1.5 is what is missing."""
    x = np.array([[1.0, 0.5], [0.0, math.sqrt(0.75)], [0.0, 0.0]])
    kernel = np.eye(3)
    found = eigenvalues(x.T @ kernel @ x)
    assert found == pytest.approx([1.5, 0.5])
    naive = distilled_eigenvalues(eigenvalues(kernel), 2)
    assert found[0] > naive.upper[0] + 0.4
    assert found[1] < naive.lower[1] - 0.4
    singular = np.linalg.svd(x, compute_uv=False)
    lower, upper = distilled_eigenvalues(eigenvalues(kernel), 2, gains=(singular[1] ** 2, singular[0] ** 2))
    assert np.all((lower <= found) & (found <= upper))
    with pytest.raises(ValueError, match="not orthonormal"):
        distil_along(dntk.TangentFeatures(np.eye(3)), np.ones((3, 1)), x)


@pytest.mark.parametrize("decay", [0.0, 1.0, 3.0])
def test_eigenvalues_of_a_subset_scaled_up_to_all_points(decay):
    """(n/m)λ_i(K_SS) ≤ λ_i(K) fails for some i in most subsets of every spectrum: m = 10 of n = 40 points."""
    rng = np.random.default_rng(0)
    values = (np.arange(40) + 1.0) ** -decay
    vectors = orthogonal(rng, 40)
    kernel = vectors * values @ vectors.T
    broken = 0
    for _ in range(20):
        chosen = rng.permutation(40)[:10]
        part = eigenvalues(kernel[np.ix_(chosen, chosen)])
        broken += bool(np.any(4 * part > 1.05 * values[:10]))
        lower, upper = distilled_eigenvalues(values, 10)
        assert np.all((lower <= part) & (part <= upper))
    assert broken > 10


def nystrom_cases():
    """Kernels (n, n) of twelve points, of which the first six are chosen; the second repeats one."""
    rng = np.random.default_rng(3)
    steep = orthogonal(rng, 12) * 10.0 ** -np.arange(12) @ orthogonal(rng, 30)[:12]
    repeated = steep.copy()
    repeated[1] = repeated[0]
    return {"steep": steep, "repeated": repeated}


@pytest.mark.parametrize("name", ["steep", "repeated"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nystrom_by_a_pseudo_inverse_is_not_below_the_kernel(name, dtype):
    """K − K_XS K_SS⁺ K_SX has eigenvalues far below −eps·N·‖K‖; projections of features have none."""
    phi = nystrom_cases()[name].astype(dtype)
    kernel = phi.astype(np.float64) @ phi.astype(np.float64).T
    gram = phi @ phi.T
    cut = np.finfo(dtype).eps ** 1.5 if dtype == "float32" else 1e-22
    naive = gram[:, :6] @ np.linalg.pinv(gram[:6, :6], rcond=cut, hermitian=True) @ gram[:6]
    slack = allowance("N1", dtype, 30, float(np.linalg.norm(kernel, 2)))
    assert eigenvalues(kernel - naive.astype(np.float64))[-1] < -1e3 * slack
    for span in (FeatureProjection(), ShiftedCholesky()):
        scores = (phi @ span.rows(phi[None, :6])[0].T).astype(np.float64)
        assert eigenvalues(kernel - scores @ scores.T)[-1] >= -slack


def test_nystrom_by_a_solve_breaks_down_on_zero_and_repeated_points():
    """An integer kernel is singular to the last bit; the projection onto the same points is exact."""
    phi = np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    kernel = phi @ phi.T
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.solve(kernel[:3, :3], kernel[:3])
    for span in (FeatureProjection(), ShiftedCholesky()):
        scores = phi @ span.rows(phi[None, :3])[0].T
        assert eigenvalues(kernel - scores @ scores.T)[-1] >= -1e-14 * np.trace(kernel)


def test_small_eigenvalues_of_a_float32_gram_matrix_have_no_relative_accuracy():
    """σ_i = 1e-6 of the largest: λ_i = 1e-12 comes out wrong by more than itself; Weyl's interval holds it."""
    rng = np.random.default_rng(0)
    singular = np.array([1.0, 1e-1, 1e-3, 1e-5, 1e-6, 1e-6])
    phi = (orthogonal(rng, 6) * singular @ orthogonal(rng, 20)[:6]).astype(np.float32)
    exact = np.linalg.svd(phi.astype(np.float64), compute_uv=False) ** 2
    found = np.linalg.eigvalsh(phi @ phi.T)[::-1]
    assert np.max(np.abs(found - exact)[4:] / exact[4:]) > 1
    lower, upper = eigenvalues_near(found, 0.0, size=20)
    assert np.all((lower <= exact) & (exact <= upper))
    # Singular values of the features themselves are good to eps of the largest.
    by_features = np.linalg.svd(phi, compute_uv=False).astype(np.float64)
    assert np.all(np.abs(by_features - np.sqrt(exact)) <= allowance("I1'", "float32", 20, 1.0))


def test_sketches_that_keep_all_inner_products_lose_eigenvalues():
    """Of 300 orthonormal rows k = 100 keep inner products within 0.55 (Johnson, Lindenstrauss); λ_101 … λ_300 are 0."""
    rows, dim, failure = np.eye(300), 100, 1e-9
    hat = Gaussian(dim, seed=0).apply(rows)
    assert np.max(np.abs(hat @ hat.T - rows @ rows.T)) < 0.55
    found = np.clip(eigenvalues(hat @ hat.T), 0, None)
    assert np.all(found[dim:] < 1e-12)  # of 1: off by 100 per cent
    lower, upper = sketched_singular_values(np.ones(300), dim, confidence=1 - failure)
    assert np.all((lower <= np.sqrt(found)) & (np.sqrt(found) <= upper))
    assert np.all(np.isinf(exact_upper_factors(300, 1, dim, confidence=1 - failure)[dim - 1 :]))


def test_the_best_cluster_covers_what_the_directions_do_not():
    """One per cent of a vector's energy lies in a cluster that is spanned whole: covered to 1.00, or to 0.01."""
    vector = np.array([[0.1], [0.0], [math.sqrt(0.99)], [0.0]])
    local = np.eye(4)[:, :2]
    members = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    columns = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert largest_coverage(vector, local, columns, members)[0] == pytest.approx(1.0)
    assert coverage(vector, local)[0] == pytest.approx(0.01)


def test_ridge_regression_on_frequent_directions_without_their_shift():
    """(BᵀB + λI)⁻¹Φᵀy with λ ≪ Δ leaves the targets' norm by orders of magnitude; λ + Δ/2 keeps its bound."""
    rng = np.random.default_rng(0)
    phi, y = rng.standard_normal((1, 200, 40)), rng.standard_normal((200, 1))
    ridge = 1e-4
    found = Streaming(8).stream([(dntk.TangentFeatures(phi), y)])
    rows, shift = found.rows[0], float(found.shift[0])
    assert ridge < 1e-5 * shift
    products, hessian = phi[0].T @ y[:, 0], phi[0].T @ phi[0] + ridge * np.eye(40)
    exact = np.linalg.solve(hessian, products)

    def energy(weights):
        return math.sqrt((weights - exact) @ hessian @ (weights - exact))

    naive = np.linalg.solve(rows.T @ rows + ridge * np.eye(40), products)
    robust = found.solve(ridge)
    assert energy(naive) > 1e3 * np.linalg.norm(y)
    assert energy(robust.weights[0]) <= float(robust.energy.value[0])
    assert energy(robust.weights[0]) <= np.linalg.norm(y)


def test_kronecker_sketches_leave_the_band_of_gaussian_ones():
    """With k = 16·16 and eight gradients that share an activation some σ̂_i leaves it at 1e-3 in most of 40 draws."""
    layout = layout_of_shapes({"w": (40, 40)})
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(40)
    rows = np.stack([np.outer(rng.standard_normal(40), shared).ravel() for _ in range(8)])
    exact, kernel = np.linalg.svd(rows, compute_uv=False), rows @ rows.T
    least, most = sketch_gains(8, 256, confidence=0.999)
    left = {"kronecker": 0, "gaussian": 0}
    for seed in range(40):
        sketches = {"kronecker": Kronecker(16, 16, seed=seed).bound(layout), "gaussian": Gaussian(256, seed=seed)}
        for name, sketch in sketches.items():
            hat = sketch.apply(rows)
            found = np.linalg.svd(hat, compute_uv=False)
            left[name] += bool(np.any(found < least * exact) or np.any(found > most * exact))
        # What the sketch states of itself is a second moment, and holds.
        stated = sketches["kronecker"].error(8, confidence=0.999)
        hat = sketches["kronecker"].apply(rows)
        assert stated.measure == FROBENIUS
        assert np.linalg.norm(hat @ hat.T - kernel) <= float(stated) * np.trace(kernel)
    assert left["kronecker"] > 20
    assert left["gaussian"] == 0


def test_a_ridge_of_identity_along_directions_that_are_not_orthonormal():
    """With 10·e_1 for e_1 the solution moves from 1/3 to 0.4975 under λI; under λXᵀX it stays, and is the best."""
    kernel, y, ridge = np.diag([2.0, 1.0]), np.array([1.0, 1.0]), 1.0

    def dual(length, penalty):
        x = np.array([length, 0.0])
        return x * (x @ y) / (x @ kernel @ x + ridge * penalty)

    assert dual(1.0, 1.0)[0] == pytest.approx(1 / 3)
    assert dual(10.0, 1.0)[0] == pytest.approx(100 / 201)
    assert dual(10.0, 100.0)[0] == pytest.approx(1 / 3)

    def bound(found):
        residual = (y - kernel @ found - ridge * found)[None]
        return float(energy_error(lambda v: v @ kernel, residual, ridge=ridge, trace=3.0, size=2))

    assert bound(dual(10.0, 100.0)) == pytest.approx(0.5)  # r = e_2, A_22 = 2
    assert bound(dual(10.0, 1.0)) == pytest.approx(0.5 + 3 * (100 / 201 - 1 / 3) ** 2)


def test_the_variance_of_the_projected_process_is_not_an_upper_bound():
    """A query orthogonal to the span: the projected process knows it for certain, the exact one not at all."""
    span, query, ridge = np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]]), 0.5
    inside = query @ np.swapaxes(span, 1, 2)
    naive = float(inside[0, 0, 0] ** 2 * ridge / (1 + ridge))
    exact = 1.0  # κ_xx − κ_xᵀA⁻¹κ_x with κ_x = 0
    assert naive == 0.0
    found = float(posterior_variance(query, span, np.array([[1.0]]), ridge=ridge)[0, 0])
    assert exact <= found <= exact + 1e-12
