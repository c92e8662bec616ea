"""Kernels from blocks of two batches, which may hold a weight and its bias in one block or in two."""

import dataclasses

import numpy as np
import pytest

from dntk.gradient_blocks import DenseBlock, FactoredBlock
from dntk.kernels.assembly import form_of


def blocks(n, joined, seed):
    """Two layers of a perceptron with biases, of which some are ``joined``, and a scale behind them."""
    draws, found, offset = np.random.default_rng(seed), [], 0
    for layer, (a, b) in enumerate([(3, 2), (2, 1)]):
        made = FactoredBlock(
            name=f"{layer}.weight",
            offset=offset,
            inputs=draws.normal(size=(n, 4, a)),
            cotangents=draws.normal(size=(2, n, 4, b)),
            bias=True,
        )
        found += [made] if layer in joined else made.separated()
        offset += made.size
    return [*found, DenseBlock(name="scale", offset=offset, values=draws.normal(size=(2, n, 1)))]


def dense(found):
    return np.concatenate([block.dense() for block in found], axis=2)


@pytest.mark.parametrize("outputs", ["mean", "each", "full"])
@pytest.mark.parametrize("left", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("right", [(), (0,), (1,), (0, 1)])
def test_blocks_of_the_same_parameters_are_multiplied(left, right, outputs):
    one, other = blocks(3, left, 0), blocks(5, right, 1)
    form = {"mean": "qip,qjp->ij", "each": "qip,qjp->qij", "full": "qip,rjp->qirj"}[outputs]
    expected = np.einsum(form, dense(one), dense(other)) / (2 if outputs == "mean" else 1)
    np.testing.assert_allclose(form_of(outputs).tile(iter(one), iter(other)), expected, rtol=1e-12, atol=1e-12)


def test_blocks_of_other_parameters_are_not_multiplied():
    one, other = blocks(3, (0,), 0), blocks(3, (0,), 1)
    shifted = [dataclasses.replace(block, offset=block.offset + 1) for block in other]
    for wrong in (shifted, other[:-1], [*other, other[-1]], other[::-1]):
        with pytest.raises(ValueError, match="of two batches are not of the same parameters: .* beside "):
            form_of("mean").tile(one, wrong)
