"""Versions that have to be the same here and on the workers: rounding, pickles and formats depend on them."""

import importlib.metadata
import sys
from collections.abc import Iterable, Mapping

import dntk
from dntk.backend import get_backend

_ALWAYS = ("dask", "distributed", "numpy", "cloudpickle")


def versions(libraries: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python, dntk, Dask and the array libraries of these names, as they are in this process."""
    found = {"Python": ".".join(map(str, sys.version_info[:2])), "dntk": dntk.__version__}
    found |= {name: importlib.metadata.version(name) for name in _ALWAYS}
    return found | {name: get_backend(name).version for name in sorted(libraries)}


def require_same(expected: Mapping[str, str]) -> None:
    """Raise ``ImportError`` where this process has other versions than those that were expected."""
    here = versions(set(expected) - set(versions()))
    other = [f"{name} {here[name]} and not {version}" for name, version in expected.items() if here[name] != version]
    if other:
        msg = f"{_where()} has {', '.join(other)} as the client: install the same versions on all workers."
        raise ImportError(msg)


def _where() -> str:
    from distributed import get_worker

    try:
        return f"the worker {get_worker().address}"
    except ValueError:  # not in a task
        return "this process"
