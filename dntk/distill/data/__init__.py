"""Data distillation: which points to keep."""

from dntk.distill.data.base import DataSelector, Selection
from dntk.distill.data.random import Random
from dntk.distill.data.rp_cholesky import RPCholesky

__all__ = ["DataSelector", "RPCholesky", "Random", "Selection"]
