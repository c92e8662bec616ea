"""Squared norms of per-sample gradients, block by block, against expanded gradients."""

import numpy as np
import pytest

from dntk.gradient_blocks import DenseBlock, FactoredBlock, IndexedBlock
from dntk.gradient_blocks import _squared_norms as norms
from dntk.gradient_blocks._squared_norms import squared_norms
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")


def factored(library, t, a, b, *, q=2, n=5, **options):
    rng = np.random.default_rng(t + a + b)
    return FactoredBlock(
        name="w",
        offset=0,
        inputs=library.array(rng.normal(size=(n, t, a)), "f4"),
        cotangents=library.array(rng.normal(size=(q, n, t, b)), "f4"),
        **options,
    )


def indexed(library, *, q=2, n=5, t=4, b=3, rows=6):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, size=(n, t))  # few rows, so that positions share them
    ids[0, :2] = -1  # padding, whose cotangents are zero
    cotangents = rng.normal(size=(q, n, t, b))
    cotangents[:, 0, :2, :] = 0
    values = library.array(cotangents, "f4")
    return IndexedBlock(name="e", offset=0, ids=library.array(ids, "i4"), cotangents=values, rows=rows)


def dense(library, *, q=2, n=5, p=7):
    return DenseBlock(name="b", offset=0, values=library.array(np.random.default_rng(1).normal(size=(q, n, p)), "f4"))


BLOCKS = {
    "one position": lambda library: factored(library, 1, 4, 3),
    "few positions": lambda library: factored(library, 2, 6, 5),
    "many positions": lambda library: factored(library, 30, 2, 3),
    "many positions, transposed": lambda library: factored(library, 30, 2, 3, transposed=True),
    "one position, with a bias": lambda library: factored(library, 1, 4, 3, bias=True),
    "few positions, with a bias": lambda library: factored(library, 2, 6, 5, bias=True),
    "many positions, with a bias": lambda library: factored(library, 30, 2, 3, bias=True),
    "a table": indexed,
    "stored": dense,
}


def assert_norms(block, actual):
    expanded = host(block.dense()).astype(np.float64)
    expected = np.sum(expanded**2, axis=2)
    # Positions cancel in a gradient, so the sums that are rounded are larger than their result.
    positions = block.cotangents.shape[2] if hasattr(block, "cotangents") else 1
    size = block.size * positions**2
    atol = 8 * size * np.finfo(np.float32).eps * np.max(np.abs(expected))
    assert host(actual).shape == block.shape
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", BLOCKS)
def test_norms_are_those_of_the_expanded_gradients(library, kind):
    block = BLOCKS[kind](library)
    assert_norms(block, squared_norms(block))


@pytest.mark.parametrize("kind", BLOCKS)
def test_norms_do_not_depend_on_how_many_inputs_fit_a_temporary(kind, monkeypatch):
    block = BLOCKS[kind](NUMPY)
    monkeypatch.setattr(norms, "_PIECE", 20)
    assert_norms(block, squared_norms(block))


@pytest.mark.usefixtures("unchecked")
def test_the_way_with_fewer_operations_is_taken(monkeypatch):
    monkeypatch.setattr(norms, "_factored", lambda _: "pairs")
    monkeypatch.setattr(norms, "_expanded", lambda _: "expanded")
    assert squared_norms(factored(NUMPY, 2, 6, 5)) == "pairs"
    assert squared_norms(factored(NUMPY, 30, 2, 3)) == "expanded"
