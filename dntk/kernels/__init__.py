"""Exact empirical neural tangent kernels: as matrices, and as operators that never form one."""

from dntk.kernels._ntk import ntk
from dntk.kernels.operator import NTKOperator

__all__ = ["NTKOperator", "ntk"]
