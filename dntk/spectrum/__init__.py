"""Spectra of kernels: eigenvalues, ranks, dimensions, and how well directions cover them."""

from dntk.spectrum.alignment import alignment
from dntk.spectrum.coverage import coverage, coverage_gap
from dntk.spectrum.eigen import eigenvalues, leading_eigenpairs
from dntk.spectrum.rank import condition_number, effective_dimension, truncation_rank

__all__ = [
    "alignment",
    "condition_number",
    "coverage",
    "coverage_gap",
    "effective_dimension",
    "eigenvalues",
    "leading_eigenpairs",
    "truncation_rank",
]
