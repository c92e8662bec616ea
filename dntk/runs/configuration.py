"""What a run is to do, as a TOML file says it: every table and key is checked before anything is imported or read."""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dntk.archive import expanded, schema
from dntk.archive.schema import Check, Misstated

_FUNCTION = "a function as 'module:function'"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """A checked configuration.

    Parameters
    ----------
    path
        The file; relative paths in it, and its modules, are looked for in its folder.
    network, data, fit, output
        Its tables, as they are written; see ``docs/command_line.md``.
    """

    path: Path
    network: Mapping[str, Any]
    data: Mapping[str, Any]
    fit: Mapping[str, Any]
    output: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The folder that the file is in."""
        return self.path.parent

    @property
    def destination(self) -> Path:
        """Where results go."""
        return self.folder / expanded(self.output["folder"])

    def tables(self) -> dict[str, dict[str, Any]]:
        """All tables as plain values."""
        return {name: dict(getattr(self, name)) for name in _TABLES}


def read(path: str | Path) -> Configuration:
    """Read and check a configuration.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no TOML, or a table or key is missing, unknown or of another type: which, and what is expected.
    """
    path = expanded(path).absolute()
    if path.is_dir():
        msg = f"{path} is a folder: pass a configuration, a file such as {path / 'config.toml'}."
        raise IsADirectoryError(msg)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is no TOML file: {error}"
        raise ValueError(msg) from error
    except FileNotFoundError:
        msg = f"there is no configuration {path}."
        raise FileNotFoundError(msg) from None
    try:
        _require_names("", found, tuple(_TABLES))
        return Configuration(path=path, **{name: _checked(name, found.get(name, {})) for name in _TABLES})
    except Misstated as error:
        msg = f"{path}: {error}."
        raise ValueError(msg) from None


def _checked(table: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        schema.refuse(table, found, f"a table, [{table}]")
    keys = _TABLES[table]
    _require_names(table, found, tuple(keys))
    missing = [name for name, key in keys.items() if key.required and name not in found]
    if missing:
        schema.refuse(table, sorted(found), f"the key {missing[0]!r}: {keys[missing[0]].what}")
    for name, value in found.items():
        keys[name].check(value, f"{table}.{name}")
    return {
        name: found.get(name, key.default) for name, key in keys.items() if name in found or key.default is not None
    }


def _require_names(where: str, found: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(found) - set(known))
    if unknown:
        kind = "tables" if not where else "keys"
        schema.refuse(f"{where}.{unknown[0]}".lstrip("."), found[unknown[0]], f"one of the {kind} {', '.join(known)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Key:
    check: Check
    what: str = ""
    default: Any = None
    required: bool = False


def _named(value: Any, where: str) -> None:
    """A part by its name, ``{name = "RPCholesky", size = 500}``, or a word for a default."""
    if isinstance(value, dict):
        schema.text(value.get("name"), f"{where}.name")
    else:
        schema.choice("auto", "none")(value, f"{where} (neither a table with a name")


def _ridge(value: Any, where: str) -> None:
    if isinstance(value, dict):
        schema.text(value.get("name"), f"{where}.name")
    elif isinstance(value, list):
        schema.items(schema.number(0, above=True), least=1)(value, where)
    elif isinstance(value, str):
        schema.choice("loo")(value, where)
    else:
        schema.number(0, above=True)(value, where)


def _function(value: Any, where: str) -> None:
    schema.text(value, where)
    module, colon, name = value.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        schema.refuse(where, value, _FUNCTION)


_ARRAY = _Key(check=schema.text)
_TABLES: dict[str, dict[str, _Key]] = {
    "network": {
        "make": _Key(check=_function, what=f"{_FUNCTION} that returns the trained network", required=True),
        "arguments": _Key(check=schema.mapping(schema.plain)),
        "parameters": _Key(check=schema.text),
    },
    "data": {
        "x": _Key(check=schema.text, what="a file with inputs, or 'module:function'", required=True),
        "y": _ARRAY,
        "test_x": _ARRAY,
        "test_y": _ARRAY,
    },
    "fit": {
        "data": _Key(check=_named),
        "sketch": _Key(check=_named),
        "gradients": _Key(check=_named),
        "ridge": _Key(check=_ridge),
        "regression": _Key(check=_named),
        "seed": _Key(check=schema.integer()),
        "tolerance": _Key(check=schema.number(0, 1, above=True)),
        "memory_limit": _Key(check=schema.integer(1)),
    },
    "output": {
        "folder": _Key(check=schema.text, default="dntk-run"),
        "certify": _Key(check=schema.flag, default=False),
        "checkpoint": _Key(check=schema.flag, default=True),
    },
}
