"""The page of a run, from its summary alone: no network is needed, and nothing is executed."""

import json
from pathlib import Path

from dntk.estimator.reporting._writing import write
from dntk.estimator.reporting.facts import Facts, Unseen
from dntk.runs.summary import Summary

_LOAD = 'dntk.load(folder + "/fit", model=model)'
_MISSING = {
    "unseen": "test_x in [data], then dntk run",
    "features": f"{_LOAD}.report(path, x=x_test)",
    "labels": f"{_LOAD}.report(path, x=x_test, y=y_test)",
    "points": f"{_LOAD}.report(path, points=x)",
    "influence": f"{_LOAD}.report(path, x=x_test, points=x)",
    "images": f"{_LOAD}.report(path, points=x, image_shape=(8, 8))",
    "plan": "dntk run config.toml --dry-run",
}


def write_report(summary: Summary, path: str | Path, *, files: bool = False) -> None:
    """Write the verdict, what was lost and spent, the spectrum and where all comes from as one HTML page.

    ``files``: every chart beside it as PNG and CSV, which needs matplotlib.
    """
    write(facts_of(summary), path, files=files)


def facts_of(summary: Summary) -> Facts:
    """What the page says."""
    return Facts(
        title="dntk: a run",
        outputs=summary.outputs,
        parameters=summary.parameters,
        losses=summary.losses,
        ledger=summary.ledger,
        ridge=summary.ridge,
        spectrum=summary.spectrum,
        choices=summary.choices,
        tolerance=summary.tolerance,
        certificate=summary.certificate,
        uncertified=("No certificate was asked for:", "certify = true in [output]"),
        unseen=None if summary.unseen is None else Unseen(**summary.unseen),
        missing=_MISSING,
        provenance=tuple(_provenance(summary)),
    )


def _provenance(summary: Summary) -> list[tuple[str, str]]:
    rows = [(f"SHA-256 of {name}", digest) for name, digest in summary.digests.items()]
    rows += [(f"[{name}]", json.dumps(keys)) for name, keys in summary.configuration.items()]
    return [*rows, *((f"version of {name}", version) for name, version in summary.made_by.items())]
