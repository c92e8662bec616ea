"""Blocks of gradients from the arrays that a compiled program gives."""

import jax.numpy as jnp

from dntk import arrays
from dntk.gradient_blocks import FactoredBlock, GradientBlock, IndexedBlock
from dntk.models.adapter import stored_block
from dntk_jax.capture import Factors
from dntk_jax.factors import Factored, Form, Indexed


def block_of(form: Form, factors: Factors, name: str) -> GradientBlock:
    """Block of one parameter, at offset 0; what 16-bit networks make of it as float32."""
    factors = tuple(arrays.widened(factor) for factor in factors)
    if isinstance(form, Factored):
        a, g = factors
        return FactoredBlock(name=name, offset=0, inputs=a, cotangents=g, transposed=form.transposed)
    if isinstance(form, Indexed):
        ids, g = factors
        return IndexedBlock(name=name, offset=0, ids=ids, cotangents=g, rows=form.rows)
    return stored_block(name, *factors)


def emptied(factors: Factors) -> Factors:
    """Arrays of a block with gradients of zero, in the same memory, by which batches are chosen."""
    return (*factors[:-1], jnp.zeros_like(factors[-1]))
