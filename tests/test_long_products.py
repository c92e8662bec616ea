"""Products of long rows, as gradients in large weights are: errors must not grow with their length."""

import numpy as np
import pytest

from dntk.backend import backend_of
from tests.libraries import host

LENGTH = 2_000_003  # no whole number of pieces
ERROR = 5e-6  # of float32; summed one after the other PyTorch's were 1e-4


def rows(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("f4")


def relative(found, expected):
    return np.linalg.norm(host(found).astype("f8") - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("shape", [(3, LENGTH), (2, 2, LENGTH // 2), (50, 100_003)])
def test_products_of_long_rows_lose_no_digits(library, shape):
    x, y = rows(*shape), rows(*shape)[..., :2, :] + 1
    backend, wide = backend_of(library.array(x)), x.astype("f8")
    assert relative(backend.gram(library.array(x)), wide @ np.swapaxes(wide, -1, -2)) < ERROR
    expected = wide @ np.swapaxes(y.astype("f8"), -1, -2)
    assert relative(backend.inner(library.array(x), library.array(y)), expected) < ERROR


@pytest.mark.parametrize("columns", [1, 8])
def test_products_of_long_columns_lose_no_digits(library, columns):
    x = rows(1_000_003, columns)
    found = backend_of(library.array(x)).column_gram(library.array(x))
    assert relative(found, x.astype("f8").T @ x.astype("f8")) < ERROR
