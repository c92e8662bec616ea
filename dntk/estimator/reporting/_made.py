"""The page of a fit from its beginning to its end, which says how far it is."""

from pathlib import Path

from dntk._progress import task
from dntk.estimator.reporting._of_fit import facts_of
from dntk.estimator.reporting._writing import write
from dntk.estimator.reporting.asked import Asked
from dntk.estimator.state import FittedState
from dntk.models.base import Model


def make(model: Model, state: FittedState, asked: Asked, path: str | Path, *, certify: bool, files: bool) -> None:
    """Measure what the page says, and write it; see :meth:`dntk.Fit.report`."""
    with task("report", total=2, unit="steps") as steps:
        facts = facts_of(model, state, asked, certify=certify)
        steps.advance()
        write(facts, path, files=files)
        steps.advance()
