"""The main job on embedded data: what ``dntk demo`` runs."""

from dntk_studies.demo.result import DemoResult, Row
from dntk_studies.demo.run import SIZES, run

__all__ = ["SIZES", "DemoResult", "Row", "run"]
