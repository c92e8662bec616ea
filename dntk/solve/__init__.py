"""Solvers of ridge regression on tangent features and on synthetic gradients, and Gaussian processes."""

from dntk.solve._gaussian_process import GaussianProcess, Posterior, gaussian_process
from dntk.solve._joint import JointFit, joint_ridge
from dntk.solve._kernel_ridge import KernelRidgeFit, kernel_ridge
from dntk.solve._nystrom import FeatureProjection, ShiftedCholesky, nystrom
from dntk.solve._preconditioned_cg import CGResult, Preconditioner, preconditioned_cg
from dntk.solve._ridge import ridge
from dntk.solve._same_span import same_span
from dntk.solve.calibration import expected_calibration_error, interval_coverage, negative_log_likelihood
from dntk.solve.choice import GeneralisedCrossValidation, KFold, LargestWithin, LeaveOneOut, PerOutput, RidgeChoice
from dntk.solve.conditioning import Jitter, SolveReport
from dntk.solve.iterative import IterativeFit, iterative_ridge
from dntk.solve.kernel_operator import FeatureKernel, KernelOperator, MatrixKernel
from dntk.solve.low_rank import RandomizedNystrom, RPCholeskyPreconditioner
from dntk.solve.marginal_likelihood import MarginalLikelihood
from dntk.solve.normal_equations import NormalEquations
from dntk.solve.normal_spectrum import NormalSpectrum
from dntk.solve.out_of_core import (
    StreamedFit,
    StreamedGCV,
    accumulate,
    ridge_out_of_core,
    solve_statistics,
    zarr_chunks,
)
from dntk.solve.path import RidgePath, ridge_path
from dntk.solve.regressions import Functionals, Joint, Regression, Separate
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.rules import Relative

__all__ = [
    "CGResult",
    "FeatureKernel",
    "FeatureProjection",
    "Functionals",
    "GaussianProcess",
    "GeneralisedCrossValidation",
    "IterativeFit",
    "Jitter",
    "Joint",
    "JointFit",
    "KFold",
    "KernelOperator",
    "KernelRidgeFit",
    "LargestWithin",
    "LeaveOneOut",
    "MarginalLikelihood",
    "MatrixKernel",
    "NormalEquations",
    "NormalSpectrum",
    "PerOutput",
    "Posterior",
    "Preconditioner",
    "RPCholeskyPreconditioner",
    "RandomizedNystrom",
    "Regression",
    "Relative",
    "RidgeChoice",
    "RidgeFit",
    "RidgePath",
    "Separate",
    "ShiftedCholesky",
    "SolveReport",
    "StreamedFit",
    "StreamedGCV",
    "accumulate",
    "expected_calibration_error",
    "gaussian_process",
    "interval_coverage",
    "iterative_ridge",
    "joint_ridge",
    "kernel_ridge",
    "negative_log_likelihood",
    "nystrom",
    "preconditioned_cg",
    "ridge",
    "ridge_out_of_core",
    "ridge_path",
    "same_span",
    "solve_statistics",
    "zarr_chunks",
]
