"""Finished units of work on disk: JSON and archives, each file whole or not there, so that a run resumes."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dntk.archive import Format, StoreError, read, schema, write, write_whole
from dntk_studies.reproduce.settings import COUNTS, Settings, configuration_hash

_CONFIGURATION = "configuration.json"
_FORMAT = Format(name="dntk.Unit", version=1, kind="unit of work", reader="dntk reproduce", fields={"key": schema.text})


class Units:
    """Results of one configuration, by name, in ``folder``."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        """JSON value called ``name``: read where it is stored, else made and stored."""
        path = self.folder / "units" / f"{name}.json"
        if path.is_file():
            stored = _parsed(path)
            if stored.get("sha256") != _digest(stored.get("value")):
                raise _damaged(path, StoreError("its SHA-256 is not that of its writer"))
            if stored.get("key") == self.key:
                return stored["value"]
        value = make()
        text = json.dumps({"key": self.key, "sha256": _digest(value), "value": value}, allow_nan=True)
        write_whole(path, text.encode())
        stored = json.loads(text)  # as a resumed run will see it
        return stored["value"]

    def arrays(self, name: str, make: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
        """Arrays called ``name``, likewise."""
        path = self.folder / "units" / f"{name}.safetensors"
        if path.is_file():
            try:
                stored = read(path, _FORMAT)
            except StoreError as error:
                raise _damaged(path, error) from error
            if stored.manifest["key"] == self.key:
                return dict(stored.arrays)
        made = dict(make())
        write(path, _FORMAT, made, {"key": self.key})
        return made

    def holds(self, name: str) -> bool:
        """Whether a unit of that name is stored."""
        return any((self.folder / "units" / f"{name}{end}").is_file() for end in (".json", ".safetensors"))


def open_units(folder: Path, settings: Settings, fingerprint: str, version: str) -> Units:
    """The units of ``folder``, which is made where it does not exist; other numbers of seeds go on with the same units.

    Raises
    ------
    ValueError
        The folder holds results of another configuration, or something else.
    """
    key = configuration_hash(settings, fingerprint, version)
    path = folder / _CONFIGURATION
    described = {"hash": key, "settings": settings.as_json(), "data": fingerprint, "version": version}
    if path.is_file():
        stored = _parsed(path)
        _require_same(folder, stored, described)
        if stored != described:
            _describe(path, described)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"--out {folder} exists and holds no results of `dntk reproduce`: pass another folder, or empty it."
        raise ValueError(msg)
    else:
        _describe(path, described)
    return Units(folder, key)


def _describe(path: Path, described: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(described, indent=2) + "\n").encode())


def _require_same(folder: Path, stored: dict[str, Any], described: dict[str, Any]) -> None:
    if stored.get("hash") == described["hash"]:
        return
    theirs, ours = stored.get("settings", {}), described["settings"]
    changed = [
        f"{name} is {theirs.get(name)} there, {ours[name]} here"
        for name in ours
        if name not in COUNTS and theirs.get(name) != ours[name]
    ]
    for name in ("data", "version"):
        if stored.get(name) != described[name]:
            changed.append(f"{name}: {stored.get(name)} there, {described[name]} here")
    changed = changed or ["an earlier form of this version wrote it"]
    shown = "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else "")
    msg = f"--out {folder} holds results of another configuration ({shown}): pass another folder, or delete that one."
    raise ValueError(msg)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    if not isinstance(parsed, dict):
        raise _damaged(path, StoreError(f"it holds a {type(parsed).__name__}, not an object"))
    return parsed


def _digest(value: Any) -> str:
    """Of a JSON value, the same before it is written and after it is read."""
    return hashlib.sha256(json.dumps(value, allow_nan=True).encode()).hexdigest()


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged ({error}): delete it, and it is computed again.")
