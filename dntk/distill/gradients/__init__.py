"""Gradient distillation: which s combinations of the tangent features of m points to keep."""

from dntk.distill.gradients.base import GradientDistiller
from dntk.distill.gradients.local_global import LocalGlobal, LocalGlobalDiagnosis
from dntk.distill.gradients.principal import Principal
from dntk.distill.gradients.solution import Solution

__all__ = ["GradientDistiller", "LocalGlobal", "LocalGlobalDiagnosis", "Principal", "Solution"]
