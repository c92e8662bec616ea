"""What a folder says of itself and of its chunks."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dntk.archive import Format, Stored, StoreError, present, read, schema, to_host, write
from dntk.checkpoints import digest
from dntk.identity import Identity, outputs_differ
from dntk.ledger import Spent
from dntk.stores.layout import DTYPES, Layout

MANIFEST = "manifest"
FORMAT = Format(
    name="dntk.Store",
    version=1,
    kind="manifest of a store",
    reader="the call that it is of",
    fields={
        "kind": schema.text,
        "owner": schema.mapping(schema.text),
        "shape": schema.items(schema.integer(1), least=1),
        "chunks": schema.items(schema.integer(1), least=1),
        "dtype": schema.choice(*DTYPES),
        "batch": schema.integer(1),
        "about": schema.mapping(schema.plain),
        "place": schema.text,
    },
)
RECORD = Format(
    name="dntk.StoredChunk",
    version=1,
    kind="record of a chunk",
    reader="the call that it is of",
    fields={
        "number": schema.integer(),
        "owner": schema.text,
        "sha256": schema.text,
        "data": schema.text,
        "shard": schema.items(schema.integer(), least=2, most=2),
        "cost": schema.fields_of(Spent),
    },
)
_MOST = 10**9
"""Chunks that a folder has at most."""
_REMEDY = "Choose another folder, or remove this one to begin anew."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a call wants of its folder.

    Parameters
    ----------
    kind
        What the array is: ``"features"``, ``"kernel"``.
    owner
        Digests or texts of all that the numbers depend on, by what they are of.
    layout, batch
        How it is stored, and how many inputs are differentiated at once: rounding depends on it. A folder that is
        there already has its own.
    fixed
        Those of ``"rows"`` and ``"batch size"`` that the caller chose, which must be the folder's.
    names
        Of the axes.
    about
        What a reader wants to know, plain values.
    identity, rounding
        The network at some points, and the unit of rounding of its numbers.
    """

    kind: str
    owner: Mapping[str, str]
    layout: Layout
    batch: int
    fixed: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    identity: Identity
    rounding: float


def written(folder: Path, wanted: Wanted) -> Stored:
    """The manifest of a folder, written unless another process was first: theirs then."""
    layout = wanted.layout
    content = {
        "kind": wanted.kind,
        "owner": dict(wanted.owner),
        "shape": list(layout.shape),
        "chunks": list(layout.chunks),
        "dtype": layout.dtype,
        "batch": wanted.batch,
        "about": dict(wanted.about),
        "place": wanted.identity.place,
    }
    with contextlib.suppress(FileExistsError):
        write(folder / MANIFEST, FORMAT, {"outputs": to_host(wanted.identity.outputs)}, content, replace=False)
    return read(folder / MANIFEST, FORMAT)


def found(folder: Path) -> Stored | None:
    """The manifest of a folder that has one.

    Raises
    ------
    FileExistsError
        It is a file, or a folder with other files.
    """
    if folder.exists() and not folder.is_dir():
        msg = f"`store` {folder} is a file: pass a folder, which is made where it is missing."
        raise FileExistsError(msg)
    # What is there is listed before the manifest is looked for: another process may write it between the two.
    others = folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir())
    if present(folder / MANIFEST):
        return read(folder / MANIFEST, FORMAT)
    if others:
        msg = f"`store` {folder} has files that are no store of dntk: pass an empty or a new folder."
        raise FileExistsError(msg)
    return None


def require_same(folder: Path, stored: Stored, wanted: Wanted) -> None:
    """Raise ``StoreError`` unless the folder is of this call; which part differs is said."""
    manifest = stored.manifest
    if manifest["kind"] != wanted.kind:
        msg = f"`store` {folder} holds a {manifest['kind']}, not a {wanted.kind}. {_REMEDY}"
        raise StoreError(msg)
    known = manifest["owner"]
    other = [
        f"{part} ({_shown(known.get(part))} there)" for part in wanted.owner if known.get(part) != wanted.owner[part]
    ]
    chosen = {"rows": (manifest["chunks"], list(wanted.layout.chunks)), "batch size": (manifest["batch"], wanted.batch)}
    other += [
        f"{name} ({there} there)" for name, (there, here) in chosen.items() if name in wanted.fixed and there != here
    ]
    if not other and manifest["shape"] != list(wanted.layout.shape):
        other = [f"shape ({manifest['shape']} there)"]
    if other:
        msg = f"`store` {folder} belongs to a call with another {' and another '.join(other)}. {_REMEDY}"
        raise StoreError(msg)
    with stored.building():
        difference = outputs_differ(
            to_host(wanted.identity.outputs),
            stored.arrays["outputs"],
            rounding=wanted.rounding,
            same_place=manifest["place"] == wanted.identity.place,
        )
    if difference:
        msg = f"`store` {folder} belongs to a call with another network: {difference}. {_REMEDY}"
        raise StoreError(msg)


def owner_of(stored: Stored) -> str:
    """A short name of the run that a folder is of, the same in every folder of one run."""
    manifest = stored.manifest
    return digest({name: manifest[name] for name in ("kind", "owner", "shape", "chunks", "dtype", "batch")})


def layout_of(stored: Stored) -> Layout:
    """How the array lies on the disk."""
    manifest = stored.manifest
    shape, chunks = tuple(manifest["shape"]), tuple(manifest["chunks"])
    if len(shape) != len(chunks):
        stored.refuse(f"has a shape {shape} and chunks {chunks}")
    layout = Layout(shape=shape, chunks=chunks, dtype=manifest["dtype"])
    if any(chunk > size for chunk, size in zip(chunks, shape, strict=True)) or math.prod(layout.grid) > _MOST:
        stored.refuse(f"has a shape {shape} in chunks of {chunks}")
    return layout


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
