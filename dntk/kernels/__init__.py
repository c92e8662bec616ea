"""Exact empirical neural tangent kernels: as matrices, as operators that never form one, and on the disk."""

from dntk.kernels._ntk import ntk
from dntk.kernels.operator import NTKOperator
from dntk.kernels.stored import StoredKernel

__all__ = ["NTKOperator", "StoredKernel", "ntk"]
