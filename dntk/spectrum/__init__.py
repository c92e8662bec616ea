"""Spectra of kernels: eigenvalues, ranks, dimensions, and how well directions cover them."""

from dntk.spectrum._alignment import alignment
from dntk.spectrum._coverage import coverage, coverage_gap, largest_coverage
from dntk.spectrum.eigen import eigenvalues, leading_eigenpairs, mean_eigenpairs
from dntk.spectrum.holding import eigenpairs_holding
from dntk.spectrum.rank import condition_number, effective_dimension, truncation_rank

__all__ = [
    "alignment",
    "condition_number",
    "coverage",
    "coverage_gap",
    "effective_dimension",
    "eigenpairs_holding",
    "eigenvalues",
    "largest_coverage",
    "leading_eigenpairs",
    "mean_eigenpairs",
    "truncation_rank",
]
