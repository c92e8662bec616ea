"""Measured errors of sketches: exact where the sketch is, as theory says where it is not."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import dntk
from dntk.sketch import Gaussian, Kronecker, Mask, SparseSign, TensorSketch, diagnose
from tests.libraries import LIBRARIES, Library, host
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")


def test_an_isometry_has_no_error(library):
    model, x = mlp(library), inputs(library, 8)
    found = diagnose(model, x, Mask(model.n_parameters), draws=2)
    # Two float32 kernels of 163 terms: γ of each, relative to ‖K‖_F ≥ tr K/√n.
    rounding = 2 * 163 * 2**-23 * 8**0.5
    assert found.gram_error.upper <= rounding
    # Eigenvalues are compared from 100·n·eps of the largest on, so that rounding is below n·eps/(100·n·eps).
    assert found.worst_eigenvalue_error.mean <= 2 * 163 / (100 * 8)
    assert found.eigenvalue_errors[0].mean <= rounding


def test_errors_are_those_of_the_kernels_written_out():
    model, x, sketch = mlp(NUMPY), inputs(NUMPY, 12), SparseSign(64)
    exact = dntk.ntk(model, x).astype(np.float64)
    errors, eigen = [], []
    for seed in (6, 7, 8):
        kernel = dntk.tangent_features(model, x, sketch=dataclasses.replace(sketch, seed=seed)).kernel()
        errors.append(np.linalg.norm(kernel - exact) / np.linalg.norm(exact))
        leading = np.linalg.eigvalsh(exact)[::-1][:10]
        eigen.append(np.abs(np.linalg.eigvalsh(kernel.astype(np.float64))[::-1][:10] - leading) / leading)
    found = diagnose(model, x, sketch, draws=3, seed=5, confidence=0.9)
    low, high = scipy.stats.t.interval(0.9, 2, np.mean(errors), scipy.stats.sem(errors))
    assert found.gram_error.mean == pytest.approx(np.mean(errors), rel=1e-5)
    assert found.gram_error.lower == pytest.approx(max(0, low), rel=1e-4)
    assert found.gram_error.upper == pytest.approx(high, rel=1e-4)
    means = [interval.mean for interval in found.eigenvalue_errors]
    np.testing.assert_allclose(means, np.mean(eigen, axis=0), atol=1e-3)
    assert found.worst_eigenvalue_error.mean == pytest.approx(np.mean(np.max(eigen, axis=1)), abs=1e-3)


def test_measured_error_of_a_gaussian_sketch_is_the_expected_one():
    model, x = mlp(NUMPY, (6, 64, 1)), inputs(NUMPY, 40)
    kernel = dntk.ntk(model, x).astype(np.float64)
    expected = ((np.trace(kernel) / np.linalg.norm(kernel)) ** 2 + 1) ** 0.5 / 256**0.5
    found = diagnose(model, x, Gaussian(256), draws=12, confidence=1 - 1e-9)
    # The root of the mean square is at most a few per cent above the mean.
    assert found.gram_error.lower <= expected
    assert found.gram_error.upper >= 0.9 * expected


@pytest.mark.parametrize("sketch", [TensorSketch(64), Kronecker(8, 8)], ids=lambda s: type(s).__name__)
def test_maps_of_matrices_need_not_be_bound(sketch):
    found = diagnose(mlp(NUMPY), inputs(NUMPY, 12), sketch, draws=2)
    assert 0 < found.gram_error.mean < 2
    assert found.points == 12


@pytest.mark.parametrize("library", LIBRARIES[:3], ids=lambda library: library.id)
def test_libraries_agree(library):
    if library.why_not():
        pytest.skip(library.why_not())
    here = diagnose(mlp(library), inputs(library, 12), SparseSign(64), draws=2)
    there = diagnose(mlp(NUMPY), inputs(NUMPY, 12), SparseSign(64), draws=2)
    assert here.gram_error.mean == pytest.approx(there.gram_error.mean, rel=1e-4)


def test_a_random_sample_is_taken_of_many_inputs():
    model, x = mlp(NUMPY), inputs(NUMPY, 50)
    draws = [diagnose(model, x, SparseSign(32), sample=9, draws=2, seed=seed) for seed in (0, 0, 1)]
    assert [d.points for d in draws] == [9, 9, 9]
    assert draws[0] == draws[1]
    assert draws[0].gram_error != draws[2].gram_error
    from dntk.sketch.diagnosis import _sampled  # which points: distinct ones, in their order

    taken = _sampled(np.arange(50), 9, 0)
    assert np.all(np.diff(taken) > 0)
    assert host(taken).tolist() != list(range(9))


def test_eigenvalues_below_rounding_are_not_compared():
    model, x = mlp(NUMPY), np.repeat(inputs(NUMPY, 2), 6, axis=0)
    assert len(diagnose(model, x, SparseSign(64), draws=2).eigenvalue_errors) == 2


def test_the_result_reads_as_a_table():
    text = str(diagnose(mlp(NUMPY), inputs(NUMPY, 12), SparseSign(64), draws=2))
    assert text.startswith("SparseSign(dim=64")
    assert "12 inputs, 2 seeds, 95% intervals" in text
    assert len(text.splitlines()) == 13


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": 0}, "`sample` must be an integer of at least 1"),
        ({"draws": 1}, "`draws` must be an integer of at least 2"),
        ({"confidence": 1.0}, "`confidence` must be between 0 and 1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        diagnose(mlp(NUMPY), inputs(NUMPY, 4), SparseSign(8), **changes)


def test_a_kernel_of_zeros_is_refused():
    model = dntk.MLP(weights=(np.zeros((3, 2)), np.zeros((1, 3))), biases=(None, None), activation="relu")
    with pytest.raises(ValueError, match="the kernel is zero on the sample"):
        diagnose(model, np.ones((3, 2)), SparseSign(8))
