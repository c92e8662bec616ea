"""Mean and spread over seeds."""

import statistics
from collections.abc import Sequence
from typing import Any

Rows = list[dict[str, Any]]


def spread(rows: Rows, keys: Sequence[str], columns: Sequence[str]) -> Rows:
    """One row per combination of ``keys``, in the order of appearance, with mean and deviation of the ``columns``.

    A column ``c`` becomes ``c`` (the mean) and ``c_sd`` (the standard deviation, 0 for one seed); ``seeds`` counts.
    """
    grouped: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        grouped.setdefault(tuple(row[key] for key in keys), []).append(row)
    found = []
    for values, members in grouped.items():
        out = {**dict(zip(keys, values, strict=True)), "seeds": len({member.get("seed") for member in members})}
        for column in columns:
            known = [float(member[column]) for member in members if member[column] is not None]
            out[column] = statistics.fmean(known) if known else None
            out[f"{column}_sd"] = statistics.stdev(known) if len(known) > 1 else 0.0
        found.append(out)
    return found


def shown(row: dict[str, Any], column: str, form: str = ".3f") -> str:
    """Mean ± deviation as text; a dash where there is nothing."""
    if row.get(column) is None:
        return "–"
    mean = format(row[column], form)
    return mean if row.get("seeds", 1) < 2 else f"{mean} ± {format(row[f'{column}_sd'], form)}"
