"""Sketches: seeded random linear maps S: R^P → R^k with E[SᵀS] = I, applied block by block."""

from dntk.sketch.base import LayoutSketch, Sketch, sketch_block, sketch_blocks
from dntk.sketch.choice import choose
from dntk.sketch.diagnosis import Interval, SketchDiagnosis, diagnose
from dntk.sketch.error import SketchError
from dntk.sketch.gaussian import Gaussian
from dntk.sketch.kronecker import Kronecker
from dntk.sketch.layout import Layout, ParameterMatrix, layout_of
from dntk.sketch.mask import Mask
from dntk.sketch.mixed import Mixed
from dntk.sketch.plan import LayerPlan, SketchPlan
from dntk.sketch.rademacher import Rademacher
from dntk.sketch.resolution import automatic
from dntk.sketch.sparse_sign import SparseSign
from dntk.sketch.srht import SRHT
from dntk.sketch.tensor_sketch import TensorSketch

__all__ = [
    "SRHT",
    "Gaussian",
    "Interval",
    "Kronecker",
    "LayerPlan",
    "Layout",
    "LayoutSketch",
    "Mask",
    "Mixed",
    "ParameterMatrix",
    "Rademacher",
    "Sketch",
    "SketchDiagnosis",
    "SketchError",
    "SketchPlan",
    "SparseSign",
    "TensorSketch",
    "automatic",
    "choose",
    "diagnose",
    "layout_of",
    "sketch_block",
    "sketch_blocks",
]
