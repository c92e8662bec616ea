"""Every method of distilling gradients at four sizes, beside the exact kernel: what ``dntk demo --full`` adds."""

from dntk_studies.demo.methods._run import SIZES, STEPS, run
from dntk_studies.demo.methods.result import MethodsResult, Row

__all__ = ["SIZES", "STEPS", "MethodsResult", "Row", "run"]
