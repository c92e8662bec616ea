"""The main job on embedded data: what ``dntk demo`` runs."""

from dntk_studies.demo._run import SIZES, run
from dntk_studies.demo.result import DemoResult, Row

__all__ = ["SIZES", "DemoResult", "Row", "run"]
