"""What a sketch leaves of a mean kernel in expectation, against many seeds."""

import numpy as np
import pytest

from dntk.sketch import Gaussian, SparseSign
from dntk.sketch._mean_kernel import ROWS, mean_kernel_error
from tests.jacobians import float_of
from tests.mean_kernels import expected_error, moments, summed

SEEDS = 600
STANDARD_ERRORS = 5
"""A fixed set of seeds leaves five standard errors with probability 6e-7."""


def features(outputs=10, points=12, parameters=60, shared=0.5, seed=0):
    """Features (C, n, P) of which a share is that of all outputs."""
    rng = np.random.default_rng(seed)
    own, common = rng.standard_normal((outputs, points, parameters)), rng.standard_normal((1, points, parameters))
    return (1 - shared) * own + shared * common


def squared_errors(phi, sketch_of):
    """‖K̂ − K̄‖_F²/‖K̄‖_F² under every seed."""
    kernel = summed(phi)
    found = []
    for seed in range(SEEDS):
        hat = sketch_of(seed).apply(phi)
        found.append(np.sum((summed(hat) - kernel) ** 2) / np.sum(kernel**2))
    return np.array(found)


def near(draws, expected):
    return abs(np.mean(draws) - expected) <= STANDARD_ERRORS * np.std(draws, ddof=1) / len(draws) ** 0.5


@pytest.mark.parametrize(("outputs", "shared"), [(1, 0.0), (2, 0.0), (10, 0.0), (10, 0.5), (10, 1.0)])
def test_gaussian_errors_are_those_of_gram_matrices_across_outputs(outputs, shared):
    phi, dim = features(outputs, shared=shared), 40
    a, b, d = moments(phi)
    found = squared_errors(phi, lambda seed: Gaussian(dim, seed=seed))
    assert near(found, (a + b) / (dim * d))


def test_the_error_of_one_output_is_only_a_bound_for_the_mean_of_ten():
    """Once stated as an equality: here the squared error is a quarter of it and less."""
    phi, dim = features(10, shared=0.0), 40
    d = moments(phi)[2]
    ratio = np.sum(phi**2) ** 2 / d
    assert np.mean(squared_errors(phi, lambda seed: Gaussian(dim, seed=seed))) < (ratio + 1) / dim / 4


def test_a_and_b_are_at_most_what_one_output_has():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        outputs, points, parameters = rng.integers(1, 6, 3)
        phi = features(outputs, points, parameters, shared=rng.uniform(), seed=seed)
        a, b, d = moments(phi)
        assert a <= np.sum(phi**2) ** 2 * (1 + 1e-12)
        assert abs(b) <= d * (1 + 1e-12)


def test_sparse_signs_have_less_where_coordinates_carry_much():
    """The share of a + b that single coordinates have is taken off: half of it where every row is one of them."""
    dim = 40
    one_hot = np.repeat(np.eye(12)[None, :, :5] @ np.eye(5, 60), 3, axis=0)
    for phi in (features(3), one_hot[:, :5, :]):
        a, b, d = moments(phi)
        coordinates = np.sum(np.einsum("cip,cjp->pij", phi, phi) ** 2)
        found = squared_errors(phi, lambda seed: SparseSign(dim, seed=seed))
        assert near(found, (a + b - 2 * coordinates) / (dim * d))
        assert np.mean(found) <= (a + b) / (dim * d)


def test_the_error_is_known_from_sketched_features():
    """Sketched features mix a, b and d; they are solved for."""
    phi, dim = features(4, points=30, parameters=200), 60
    a, b, d = moments(phi)
    found = []
    for seed in range(SEEDS):
        hat = Gaussian(dim, seed=seed).apply(phi)
        found.append(mean_kernel_error(hat, spectrum(hat)) ** 2 * dim)
    # A ratio of unbiased estimates, of relative variance O(1/k): its mean is within 2/k of the ratio.
    assert np.mean(found) == pytest.approx((a + b) / d, rel=2 / dim)


def spectrum(phi):
    return np.linalg.eigvalsh(summed(phi) / len(phi))[::-1]


def test_every_library_finds_what_inner_products_one_by_one_give(library):
    phi = features(3, points=7, parameters=200).astype(float_of(library)).astype(np.float64)
    dtype = float_of(library)
    found = mean_kernel_error(library.array(phi, dtype), library.array(spectrum(phi), dtype))
    # Sums of n·k products, each within eps.
    assert found == pytest.approx(expected_error(phi), rel=8 * 7 * 200 * float(np.finfo(dtype).eps))


def test_scale_does_not_matter_and_zero_features_have_no_error():
    phi = features(2).astype(np.float32)
    usual = mean_kernel_error(phi, spectrum(phi))
    for scale in (1e-18, 1e18):
        scaled = phi * np.float32(scale)
        assert mean_kernel_error(scaled, spectrum(phi)) == pytest.approx(usual, rel=1e-5)
    assert mean_kernel_error(0 * phi, spectrum(phi)) == 0


def test_a_sketch_too_small_for_the_kernel_says_so():
    """A flat kernel of 300 points in 20 features is off by 300/20; its sketch has rank 20, which looked like 1."""
    hat = Gaussian(20, seed=1).apply(np.eye(300))[None, :, :]
    assert mean_kernel_error(hat, spectrum(hat)) > 0.75 * (301 / 20) ** 0.5


def test_many_rows_are_represented_by_some():
    outputs, points = 64, 96
    assert outputs * points > 2 * ROWS
    phi = features(outputs, points, parameters=80, shared=0.3)
    # b is a mean over pairs of 32 points of 96: of its standard deviation of 1/32 four times.
    assert mean_kernel_error(phi, spectrum(phi)) == pytest.approx(expected_error(phi), rel=4 / 32)
