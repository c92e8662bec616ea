"""Gradients that do not exist are named, by parameter and input."""

import types

import numpy as np
import pytest

from dntk.gradient_blocks import DenseBlock, FactoredBlock, IndexedBlock
from dntk.gradient_blocks._require_finite import require_finite
from dntk.models._finite_results import require_finite_result


def blocks(library, *, bad=None):
    """One block of each form, with ``bad`` in the gradient of input 2 of 4."""
    rng = np.random.default_rng(0)

    def drawn(*shape, axis):
        values = rng.normal(size=shape).astype("f4")
        if bad is not None:
            values[(slice(None),) * axis + (2,) + (-1,) * (values.ndim - axis - 1)] = bad
        return library.array(values)

    clean = library.array(rng.normal(size=(4, 3, 5)).astype("f4"))
    ids = library.array(rng.integers(0, 7, size=(4, 3)))
    return [
        DenseBlock(name="bias", offset=0, values=drawn(2, 4, 6, axis=1)),
        FactoredBlock(name="weight", offset=0, inputs=clean, cotangents=drawn(2, 4, 3, 6, axis=1)),
        FactoredBlock(
            name="weight",
            offset=0,
            inputs=drawn(4, 3, 5, axis=0),
            cotangents=library.array(rng.normal(size=(2, 4, 3, 6)).astype("f4")),
        ),
        IndexedBlock(name="table", offset=0, ids=ids, cotangents=drawn(2, 4, 3, 6, axis=1), rows=7),
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_named_with_its_input(library, bad):
    for block in blocks(library, bad=bad):
        with pytest.raises(
            ValueError, match=rf"`{block.name}` is NaN or infinite for 1 of 4 inputs \(first: row 2 of `x`\)"
        ):
            require_finite(block)


def test_finite_gradients_pass(library):
    for block in blocks(library):
        require_finite(block)


def test_large_finite_gradients_pass(library):
    huge = library.array(np.full((2, 4, 6), 3e38, dtype="f4"))
    require_finite(DenseBlock(name="bias", offset=0, values=huge))


def test_a_block_of_another_class_is_expanded(library):
    ours = blocks(library, bad=np.nan)[0]
    theirs = types.SimpleNamespace(**{name: getattr(ours, name) for name in dir(ours) if not name.startswith("_")})
    with pytest.raises(ValueError, match=r"`bias` is NaN or infinite"):
        require_finite(theirs)


class Rooted:
    """Two outputs of three inputs whose gradients are arrays given by hand, as a model gives them."""

    def __init__(self, values):
        self.values = values

    def gradient_blocks(self, x, _cotangents):
        rows = self.values[:, x[0, 0] : x[-1, 0] + 1, :]
        yield DenseBlock(name="weight", offset=0, values=rows)


@pytest.mark.usefixtures("unchecked")
def test_a_result_that_is_not_finite_is_explained_by_its_first_bad_gradient():
    values = np.ones((2, 6, 3), dtype="f4")
    x = np.arange(6)[:, None]
    values[1, 4, 2] = np.nan
    with pytest.raises(ValueError, match=r"`weight` is NaN or infinite for 1 of 2 inputs \(first: row 4 of `x2`\)"):
        require_finite_result(values, Rooted(values), {"x1": x[:3], "x2": x}, np.eye(2), 2)


@pytest.mark.usefixtures("unchecked")
def test_a_result_that_overflows_says_so():
    values, x = np.ones((2, 6, 3), dtype="f4"), np.arange(6)[:, None]
    with pytest.raises(ValueError, match="products overflow float32"):
        require_finite_result(np.asarray([np.inf], "f4"), Rooted(values), {"x": x}, np.eye(2), 2)
    require_finite_result(values, None, {}, np.eye(2), 2)
