"""Solvers of ridge regression on tangent features and on synthetic gradients."""

from dntk.solve.kernel_ridge import KernelRidgeFit, kernel_ridge
from dntk.solve.preconditioned_cg import CGResult, Preconditioner, preconditioned_cg
from dntk.solve.ridge import RidgeFit, ridge
from dntk.solve.same_span import same_span

__all__ = [
    "CGResult",
    "KernelRidgeFit",
    "Preconditioner",
    "RidgeFit",
    "kernel_ridge",
    "preconditioned_cg",
    "ridge",
    "same_span",
]
