"""Statistics of ridge regression on disk, so that a job that is killed goes on from its last whole chunk."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from dntk.archive import write_whole
from dntk.backend import backend_of
from dntk.random import moved
from dntk.solve.compensated import Total
from dntk.solve.normal_equations import NormalEquations
from dntk.types import Array

_FIELDS = ("gram", "cross", "square")


def write_checkpoint(path: Path, total: NormalEquations, chunks: int) -> None:
    """Write statistics and the number of chunks in them, whole or not at all."""
    payload: dict[str, Any] = {"numbers": np.array([chunks, total.points, total.weight, total.rounding])}
    for name, part in zip(_FIELDS, (total.gram_total, total.cross_total, total.square_total), strict=True):
        payload[name] = backend_of(part.value).to_numpy(part.value)
        if part.carry is not None:
            payload[f"{name}_carry"] = backend_of(part.carry).to_numpy(part.carry)
    buffer = io.BytesIO()
    np.savez(buffer, **payload)
    write_whole(path, buffer.getvalue())


def stored_checkpoint(path: Path | None) -> tuple[int, dict[str, Any] | None]:
    """Number of whole chunks in a checkpoint and its arrays; 0 and ``None`` where there is none."""
    if path is None or not path.exists():
        return 0, None
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        return int(stored["numbers"][0]), stored
    except (ValueError, KeyError, OSError) as error:
        msg = f"`checkpoint` {path} is no checkpoint of statistics ({error}): remove it, or choose another path."
        raise ValueError(msg) from error


def restored(stored: dict[str, Any], features: Array | None, targets: Array | None) -> NormalEquations:
    """Statistics of a checkpoint, where the next chunk is; ``ValueError`` if that has other shapes."""
    found = stored["cross"].shape
    if features is not None and targets is not None:
        expected = (features.shape[0], features.shape[2], targets.shape[2])
        if found != expected:
            msg = f"`checkpoint` has (sets, features, targets) {found}, the chunks have {expected}: remove it."
            raise ValueError(msg)

    def part(name: str) -> Total:
        value, carry = stored[name], stored.get(f"{name}_carry")
        if features is None:
            return Total(value=value, carry=carry)
        return Total(value=moved(value, features), carry=None if carry is None else moved(carry, features))

    _, points, weight, rounding = (float(number) for number in stored["numbers"])
    return NormalEquations(
        gram_total=part("gram"),
        cross_total=part("cross"),
        square_total=part("square"),
        points=int(points),
        weight=weight,
        rounding=rounding,
    )
