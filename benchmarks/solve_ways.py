"""The contestants of ``solve.py``, and what each has to bring."""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from solve_problems import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to solve a problem: ``prepare(problem, folder)`` gives the call that is measured.

    ``contests``: where it takes part. The call returns what :mod:`solve_figures` turns into errors.
    """

    name: str
    prepare: Callable[[Problem, Path], Callable[[], Any]]
    contests: tuple[str, ...]
    package: str | None = None
    requirement: str | None = None

    def why_not(self) -> str | None:
        """That it is not installed."""
        if self.package is None or importlib.util.find_spec(self.package):
            return None
        return f"not installed: {self.requirement}"


def linear(weights: Any) -> Callable[[Any], np.ndarray]:
    """Predictor with weights (C, k)."""
    values = np.asarray(weights)
    return lambda query: query @ values.T
