"""Files that appear whole or not at all, and folders of one safetensors and one JSON file, checksummed.

What is written goes beside its destination and is renamed when whole, so that a full disk or a killed process leaves
what was there before. Nothing in a folder is executed.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dntk.backend import backend_of
from dntk.models.base import Model
from dntk.types import Array

ARRAYS, MANIFEST = "arrays.safetensors", "manifest.json"


class StoreError(ValueError):
    """What is stored is damaged, foreign, or belongs to another network."""


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A stream to a new file that takes the place of ``path`` when the block ends without an error.

    The file is on the disk before it is renamed, and its mode follows the umask.

    Raises
    ------
    OSError
        The disk is full or not writable; what was at ``path`` is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = _beside(path)
    try:
        with staging.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, see :func:`written_whole`."""
    with written_whole(path) as stream:
        stream.write(content)


def write_folder(
    path: str | Path, arrays: Mapping[str, Array], manifest: Mapping[str, Any], *, kind: str = "estimator"
) -> None:
    """Write arrays of any library and a manifest to the folder ``path``, replacing what was stored there.

    Raises
    ------
    FileExistsError
        ``path`` exists and holds nothing stored.
    OSError
        The disk is full or not writable; what was at ``path`` is still there.
    """
    destination = Path(path)
    if destination.exists() and not (destination / MANIFEST).is_file():
        msg = f"{destination} exists and is not a stored {kind}: choose another path, or remove it."
        raise FileExistsError(msg)
    from safetensors.numpy import save as to_safetensors

    payload = to_safetensors({name: to_host(value) for name, value in arrays.items()})
    text = json.dumps({**manifest, "arrays_sha256": hashlib.sha256(payload).hexdigest()}, indent=2)
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = _beside(destination)
    try:
        staging.mkdir()
        for name, content in ((ARRAYS, payload), (MANIFEST, f"{text}\n".encode())):
            (staging / name).write_bytes(content)
            _sync(staging / name)
        _swap(staging, destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_manifest(folder: Path, expected: Mapping[str, int], *, kind: str = "DistilledNTK") -> dict[str, Any]:
    """The manifest of a folder whose format and version are among ``expected``.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    StoreError
        It is damaged, foreign, or of a newer version.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder: expected one written by {kind}.save."
        raise FileNotFoundError(msg)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{folder} has no {MANIFEST}: it is not a stored {kind}, pass a folder written by {kind}.save."
        raise StoreError(msg) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        msg = f"{folder / MANIFEST} is not JSON ({error}): the file is damaged."
        raise StoreError(msg) from error
    if not isinstance(manifest, dict) or manifest.get("format") not in expected:
        msg = f"{folder / MANIFEST} does not describe a {' or '.join(expected)}."
        raise StoreError(msg)
    version = expected[manifest["format"]]
    if manifest.get("version") != version:
        msg = f"{folder} has format version {manifest.get('version')}, this dntk reads version {version}: upgrade dntk."
        raise StoreError(msg)
    return manifest


def read_arrays(folder: Path, manifest: Mapping[str, Any], *, kind: str = "estimator") -> dict[str, Any]:
    """NumPy arrays by name; ``StoreError`` where they are missing, damaged or no safetensors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    try:
        payload = (folder / ARRAYS).read_bytes()
    except FileNotFoundError as error:
        msg = f"{folder} has no {ARRAYS}: the stored {kind} is incomplete."
        raise StoreError(msg) from error
    found = hashlib.sha256(payload).hexdigest()
    if found != manifest.get("arrays_sha256"):
        msg = (
            f"{folder / ARRAYS} is damaged: its SHA-256 is {found[:12]}…, not the {MANIFEST}'s. Make and save it again."
        )
        raise StoreError(msg)
    try:
        arrays: dict[str, Any] = from_safetensors(payload)
    except SafetensorError as error:
        msg = f"{folder / ARRAYS} is not a safetensors file ({error})."
        raise StoreError(msg) from error
    return arrays


def fingerprint(model: Model) -> str:
    """SHA-256 of the names, shapes, types and values of the selected parameters."""
    return checksum(model.parameters)


def checksum(arrays: Mapping[str, Array]) -> str:
    """SHA-256 of the names, shapes, types and values of arrays of any library."""
    digest = hashlib.sha256()
    for name, value in arrays.items():
        host = to_host(value)
        digest.update(f"{name}:{host.shape}:{host.dtype.str}".encode())
        digest.update(host.tobytes())
    return digest.hexdigest()


def to_host(value: Array) -> Any:
    """Contiguous NumPy copy."""
    return np.ascontiguousarray(backend_of(value).to_numpy(value))


def _swap(staging: Path, destination: Path) -> None:
    """Put the finished folder in place; the old one goes only when the new one is there."""
    if not destination.exists():
        os.replace(staging, destination)
        return
    retired = _beside(destination)
    retired.mkdir()
    os.replace(destination, retired / "previous")
    try:
        os.replace(staging, destination)
    except OSError:
        os.replace(retired / "previous", destination)
        raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A new name in the same folder, so that a rename does not leave the disk."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _sync(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
