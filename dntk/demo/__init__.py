"""The main job on embedded data: what ``dntk demo`` runs."""

from dntk.demo.result import DemoResult, Row
from dntk.demo.run import SIZES, run

__all__ = ["SIZES", "DemoResult", "Row", "run"]
