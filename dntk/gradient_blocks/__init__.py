"""Gradient blocks: the per-sample gradients of one parameter, in the cheapest exact form."""

from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.dense import DenseBlock
from dntk.gradient_blocks.factored import FactoredBlock
from dntk.gradient_blocks.indexed import IndexedBlock
from dntk.gradient_blocks.tied import TiedBlock

__all__ = ["DenseBlock", "FactoredBlock", "GradientBlock", "IndexedBlock", "TiedBlock"]
