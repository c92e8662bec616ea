"""Gradient distillation: which s combinations of the tangent features of m points to keep."""

from dntk.distill.gradients.base import GradientDistiller
from dntk.distill.gradients.diagnostics import (
    CoverageCurve,
    CoverageGaps,
    LowRank,
    coverage_curve,
    coverage_gaps,
    low_rank,
)
from dntk.distill.gradients.krylov import Krylov
from dntk.distill.gradients.local_global import LocalGlobal, LocalGlobalDiagnosis
from dntk.distill.gradients.local_global_search import LocalGlobalChoice, LocalGlobalSearch, LocalGlobalTrial
from dntk.distill.gradients.principal import Principal
from dntk.distill.gradients.solution import Solution
from dntk.distill.gradients.streamed import StreamedFit, StreamedGradients
from dntk.distill.gradients.streaming import Streaming

__all__ = [
    "CoverageCurve",
    "CoverageGaps",
    "GradientDistiller",
    "Krylov",
    "LocalGlobal",
    "LocalGlobalChoice",
    "LocalGlobalDiagnosis",
    "LocalGlobalSearch",
    "LocalGlobalTrial",
    "LowRank",
    "Principal",
    "Solution",
    "StreamedFit",
    "StreamedGradients",
    "Streaming",
    "coverage_curve",
    "coverage_gaps",
    "low_rank",
]
