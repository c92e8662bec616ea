"""The main job on embedded data: what ``dntk demo`` runs."""

from dntk_studies.demo._run import STEPS, run
from dntk_studies.demo.result import Demo, Line

__all__ = ["STEPS", "Demo", "Line", "run"]
