"""What a configuration names: functions of modules, and arrays in files."""

import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

import dntk
from dntk import arrays
from dntk.archive import expanded
from dntk.backend import backend_of
from dntk.models.nests import is_array
from dntk.types import Array

_KINDS = "a .npy file, 'file.npz#name', a Zarr array, or 'module:function'"


def made(key: str, named: str, folder: Path, arguments: Mapping[str, Any] | None = None) -> Any:
    """What a function returns that is named ``module:function``; modules of ``folder`` come first.

    Raises
    ------
    ValueError
        There is no such module or function, it is no function, or another module of that name is loaded already.
    """
    module, _, name = named.partition(":")
    with _modules_of(folder):
        try:
            found = importlib.import_module(module)
            _require_meant(key, found, folder)
            function = getattr(found, name)
        except ModuleNotFoundError as error:
            if error.name not in (module, module.partition(".")[0]):
                raise
            msg = f"{key}: there is no module {module!r} in {folder} or among the installed packages."
            raise ValueError(msg) from error
        except AttributeError as error:
            msg = f"{key}: the module {module!r} has no {name!r}."
            raise ValueError(msg) from error
        if not callable(function):
            msg = f"{key}: {named} is a {type(function).__name__}, expected a function."
            raise ValueError(msg)
        with _interrupts_kept():
            return function(**(arguments or {}))


def points(key: str, named: str, folder: Path) -> Any:
    """Inputs as a file or a function gives them; those of a file are read batch by batch."""
    found = _opened(key, named, folder)
    return dntk.points(found) if _is_stored(named) else found


def targets(key: str, named: str, folder: Path, like: Array) -> Array:
    """Targets or labels as an array of the network's library, on its device."""
    found = _opened(key, named, folder)
    if is_array(found) and not isinstance(found, np.ndarray):
        return found
    values = np.asarray(found)
    if values.dtype.kind not in "iuf":
        msg = f"{key} has values of type {values.dtype}, expected labels (whole numbers) or targets (floats)."
        raise ValueError(msg)
    return backend_of(like).from_numpy(np.ascontiguousarray(values), device=arrays.device_of(like))


def _is_stored(named: str) -> bool:
    return ":" not in named


def _opened(key: str, named: str, folder: Path) -> Any:
    if not _is_stored(named):
        return made(key, named, folder)
    file, hash_sign, name = named.partition("#")
    path = folder / expanded(file)
    if not path.exists():
        msg = f"{key}: there is no {path}. Expected {_KINDS}."
        raise FileNotFoundError(msg)
    try:
        if path.is_dir():
            return _zarr(key, path)
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        msg = f"{key}: {path} cannot be read as an array ({error}). Expected {_KINDS}."
        raise ValueError(msg) from error
    if isinstance(found, np.ndarray):
        return found
    with found:
        if not hash_sign or name not in found.files:
            msg = f"{key}: {path} holds {', '.join(found.files)}: name one, {path.name}#{found.files[0]}."
            raise ValueError(msg)
        return found[name]


def _zarr(key: str, path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        msg = f'{key}: {path} is a folder, and Zarr arrays need zarr: pip install "dntk[zarr]"'
        raise ImportError(msg) from error
    try:
        return zarr.open_array(path, mode="r")
    except (FileNotFoundError, ValueError) as error:
        msg = f"{key}: {path} is no Zarr array. Expected {_KINDS}."
        raise ValueError(msg) from error


def _require_meant(key: str, module: ModuleType, folder: Path) -> None:
    """Raise ``ValueError`` where a module is beside the configuration, but one of another place was loaded before."""
    place = folder.joinpath(*module.__name__.split("."))
    beside = [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
    loaded = getattr(module, "__file__", None)
    if beside and (loaded is None or not beside[0].samefile(loaded)):
        msg = (
            f"{key}: the module {module.__name__!r} of {loaded} is loaded already, not {beside[0]}: give it another "
            "name, or run this configuration in a process of its own."
        )
        raise ValueError(msg)


@contextlib.contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at the end where one was caught inside, as scikit-learn's training does.

    It returns a network that is trained half, and the run would go on with that.
    """
    before, seen = signal.getsignal(signal.SIGINT), list[int]()
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def noted(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, noted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _modules_of(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
