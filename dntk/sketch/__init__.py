"""Sketches: seeded random linear maps S: R^P → R^k with E[SᵀS] = I, applied block by block."""

from dntk.sketch.base import Sketch, sketch_block
from dntk.sketch.error import SketchError
from dntk.sketch.gaussian import Gaussian
from dntk.sketch.rademacher import Rademacher
from dntk.sketch.sparse_sign import SparseSign

__all__ = ["Gaussian", "Rademacher", "Sketch", "SketchError", "SparseSign", "sketch_block"]
