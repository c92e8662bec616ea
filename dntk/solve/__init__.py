"""Solvers of ridge regression on tangent features and on synthetic gradients."""

from dntk.solve.choice import GeneralisedCrossValidation, KFold, LeaveOneOut, PerOutput, RidgeChoice
from dntk.solve.conditioning import Jitter, SolveReport
from dntk.solve.kernel_ridge import KernelRidgeFit, kernel_ridge
from dntk.solve.normal_equations import NormalEquations
from dntk.solve.normal_spectrum import NormalSpectrum
from dntk.solve.preconditioned_cg import CGResult, Preconditioner, preconditioned_cg
from dntk.solve.ridge import RidgeFit, ridge
from dntk.solve.same_span import same_span

__all__ = [
    "CGResult",
    "GeneralisedCrossValidation",
    "Jitter",
    "KFold",
    "KernelRidgeFit",
    "LeaveOneOut",
    "NormalEquations",
    "NormalSpectrum",
    "PerOutput",
    "Preconditioner",
    "RidgeChoice",
    "RidgeFit",
    "SolveReport",
    "kernel_ridge",
    "preconditioned_cg",
    "ridge",
    "same_span",
]
