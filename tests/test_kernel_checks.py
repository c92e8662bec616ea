"""Kernels that are given as matrices have to be symmetric, up to rounding."""

import re

import numpy as np
import pytest

import dntk
from dntk._kernel_checks import asymmetry, symmetrised
from dntk.solve import MatrixKernel, kernel_ridge
from tests.libraries import LIBRARIES, host

CALLS = {
    "eigenvalues": lambda k, _: dntk.spectrum.eigenvalues(k),
    "truncation_rank": lambda k, _: dntk.spectrum.truncation_rank(k),
    "effective_dimension": lambda k, _: dntk.spectrum.effective_dimension(k, 0.1),
    "condition_number": lambda k, _: dntk.spectrum.condition_number(k, 0.1),
    "alignment": lambda k, y: dntk.spectrum.alignment(k, y),
    "kernel_ridge": lambda k, y: kernel_ridge(k[None, :, :], y, ridge=0.1),
    "MatrixKernel": lambda k, _: MatrixKernel(k[None, :, :]),
}


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request):
    if request.param.why_not():
        pytest.skip(request.param.why_not())
    return request.param


def kernel(n=12):
    features = np.random.default_rng(0).normal(size=(n, 30))
    return features @ features.T


def skewed(by, n=12):
    """A kernel of which one entry was moved, by a share of the largest."""
    matrix = kernel(n)
    matrix[2, 7] += by * np.max(np.abs(matrix))
    return matrix


@pytest.mark.parametrize("name", CALLS)
def test_an_asymmetric_kernel_is_refused_by_name_size_and_remedy(library, name):
    y = library.array(np.random.default_rng(1).normal(size=(12, 1)), "float32")
    argument = "values" if name == "MatrixKernel" else "kernel"
    said = rf"`{argument}` is not symmetric: .* differ by up to 0.01 of .*\({argument} \+ {argument}.mT\) / 2"
    with pytest.raises(ValueError, match=said):
        CALLS[name](library.array(skewed(0.01), "float32"), y)
    CALLS[name](library.array(skewed(1e-5), "float32"), y)


def test_what_rounding_left_is_symmetrised(library):
    """Eigenvalues are those of (K + Kᵀ)/2, not of the triangle that a factorisation happens to read."""
    matrix = skewed(4e-4)
    expected = np.linalg.eigvalsh((matrix + matrix.T) / 2)[::-1]
    eps = 2.0**-23 * 12 * expected[0]
    found = host(dntk.spectrum.eigenvalues(library.array(matrix, "float32")))
    np.testing.assert_allclose(found, expected, rtol=0, atol=eps)
    assert np.max(np.abs(np.linalg.eigvalsh(matrix, UPLO="L")[::-1] - expected)) > 4 * eps
    y = np.random.default_rng(1).normal(size=(12, 1))
    dual = host(kernel_ridge(library.array(matrix[None], "float64"), library.array(y, "float64"), ridge=9.0).dual)
    solved = np.linalg.solve((matrix + matrix.T) / 2 + 9 * np.eye(12), y[:, 0])
    digits = 1e-4 if dual.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(dual[0], solved, rtol=0, atol=digits * np.max(np.abs(solved)))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_matrix_of_a_stack_is_looked_at_by_its_own_size(library, place):
    stack = np.stack([kernel() * scale for scale in (1e6, 1.0, 1e-6)])
    dntk.spectrum.eigenvalues(library.array(stack, "float32"))
    stack[place] = skewed(0.01) * (1e6, 1.0, 1e-6)[place]
    with pytest.raises(ValueError, match="not symmetric"):
        dntk.spectrum.eigenvalues(library.array(stack, "float32"))


def test_kernels_computed_in_float32_pass_however_they_are_summed(library):
    """Rows and columns of a kernel as two products, in another order of the terms, then widened."""
    features = np.random.default_rng(0).normal(size=(40, 3000)).astype("f4")
    one, other = features @ features.T, (features[:, ::-1] @ features[:, ::-1].T)
    matrix = np.where(np.tri(40, dtype=bool), one, other).astype("f8")
    assert 0 < asymmetry(matrix) < 1e-5 * matrix.max()
    symmetrised("kernel", library.array(matrix, "float64"))


def test_kernels_of_16_bits_may_have_been_rounded_twice():
    matrix = kernel().astype("f2")
    matrix[2, 7] = np.nextafter(matrix[2, 7], np.float16(np.inf))
    symmetrised("kernel", matrix)


def test_the_largest_difference_is_found_in_whatever_block(monkeypatch):
    monkeypatch.setattr(dntk._kernel_checks, "_ENTRIES", 12 * 5)
    for i, j in ((0, 11), (11, 0), (4, 5), (10, 11)):
        matrix = np.eye(12)
        matrix[i, j] = 0.25
        assert asymmetry(matrix) == 0.25


def test_differences_beyond_the_range_of_the_type_are_refused(library):
    matrix = np.eye(3, dtype="f4")
    matrix[0, 1], matrix[1, 0] = 3e38, -3e38
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=re.escape("`kernel` is not symmetric")):
        dntk.spectrum.eigenvalues(library.array(matrix, "float32"))


@pytest.mark.parametrize("shape", [(3, 3), (1, 3, 4), (1, 0, 0)])
def test_matrix_kernels_of_other_shapes_are_refused(shape):
    with (
        dntk.checking(False),
        pytest.raises(ValueError, match=r"`values` has shape .*expected \(outputs, points, points\)"),
    ):
        MatrixKernel(np.zeros(shape))
