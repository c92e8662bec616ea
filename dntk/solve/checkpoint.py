"""Statistics of ridge regression on disk, so that a job that is killed goes on from its last whole chunk.

Beside the sums stands the digest of every chunk in them: a job that goes on verifies that its chunks are the same ones.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dntk import arrays
from dntk.archive import Format, Stored, StoreError, checksum, collect_beside, present, read, schema, write
from dntk.random import moved
from dntk.solve.compensated import Total
from dntk.solve.normal_equations import NormalEquations
from dntk.types import Array

_FIELDS = ("gram", "cross", "square")
_AXES = ("g k k", "g k q", "g q")
_BYTES = 32

FORMAT = Format(
    name="dntk.NormalEquations",
    version=1,
    kind="checkpoint of statistics",
    reader="dntk.solve.accumulate(chunks, checkpoint=path)",
    fields={
        "points": schema.integer(1),
        "weight": schema.number(0, above=True),
        "rounding": schema.number(0),
    },
)


def digest_of(features: Array, targets: Array) -> bytes:
    """SHA-256 of the shapes, types and values of a chunk."""
    return bytes.fromhex(checksum({"features": features, "targets": targets}))


def write_checkpoint(path: Path, total: NormalEquations, digests: list[bytes]) -> None:
    """Write statistics and the digests of the chunks in them, whole or not at all.

    Raises
    ------
    ValueError
        The last chunk made the sums useless: the checkpoint stays as it was before it.
    """
    for sums in (total.gram, total.cross, total.squares):
        xp = arrays.namespace(sums)
        if not bool(xp.all(xp.isfinite(sums))):
            msg = f"`chunks`: the products of chunk {len(digests) - 1} overflow: scale features and targets down."
            raise ValueError(msg)
    payload: dict[str, Any] = {"chunks": np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _BYTES)}
    for name, part in zip(_FIELDS, (total.gram_total, total.cross_total, total.square_total), strict=True):
        payload[name] = part.value
        if part.carry is not None:
            payload[f"{name}_carry"] = part.carry
    manifest = {"points": total.points, "weight": total.weight, "rounding": total.rounding}
    write(path, FORMAT, payload, manifest)


def stored_checkpoint(path: Path | None) -> Stored | None:
    """A checkpoint whose arrays fit each other, ``None`` where there is none.

    Raises
    ------
    dntk.StoreError
        It is damaged or foreign.
    """
    if path is None or not present(path):
        return None
    collect_beside(path)
    stored = read(path, FORMAT)
    sizes = {"bytes": _BYTES}
    stored.array("chunks", "chunks bytes", sizes, kind="integral")
    for name, axes in zip(_FIELDS, _AXES, strict=True):
        stored.array(name, axes, sizes)
        if f"{name}_carry" in stored.arrays:
            stored.array(f"{name}_carry", axes, sizes)
    return stored


def digests_of(stored: Stored) -> list[bytes]:
    """Digests of the chunks in a checkpoint."""
    return [bytes(row) for row in stored.arrays["chunks"]]


def require_same_chunk(stored: Stored | None, number: int, features: Array, targets: Array) -> None:
    """Raise ``StoreError`` unless chunk ``number`` is the one that is in a checkpoint."""
    assert stored is not None
    if digest_of(features, targets) != bytes(stored.arrays["chunks"][number]):
        msg = (
            f"chunk {number} is not the one that is in the checkpoint {stored.path}: its shape, type or values differ. "
            "Pass the same chunks in the same order, or remove the checkpoint."
        )
        raise StoreError(msg)


def restored(stored: Stored | None, like: Array) -> NormalEquations:
    """Statistics of a checkpoint, where the chunks are."""
    assert stored is not None

    def part(name: str) -> Total:
        value, carry = stored.arrays[name], stored.arrays.get(f"{name}_carry")
        return Total(value=moved(value, like), carry=None if carry is None else moved(carry, like))

    return NormalEquations(
        gram_total=part("gram"),
        cross_total=part("cross"),
        square_total=part("square"),
        points=stored.manifest["points"],
        weight=float(stored.manifest["weight"]),
        rounding=float(stored.manifest["rounding"]),
    )
