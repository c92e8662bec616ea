"""Questions that tests ask ten thousands of times, answered without doing the same work again.

The answers stay as they are. Asked for its namespace and no version, an array of array-api-strict sets the flags of
the module to what they are, sorts its names and checks every extension: a tenth of the property tests on this library.
Python 3.11 collects the members of a protocol anew for every ``isinstance``.
"""

import functools
import importlib.util
import sys
import typing
from types import ModuleType
from typing import Any


def make_cheaper() -> None:
    """Once for a process, before its first test."""
    keep_flags()
    keep_protocols()


def keep_flags() -> None:
    """Let arrays of array-api-strict, where it is installed, answer at once when no version is asked for."""
    if importlib.util.find_spec("array_api_strict") is None:
        return
    import array_api_strict

    cls = type(array_api_strict.asarray(0.0))
    if hasattr(cls.__array_namespace__, "__wrapped__"):
        return
    with_flags = cls.__array_namespace__

    def namespace(self: Any, /, *, api_version: str | None = None) -> ModuleType:
        return array_api_strict if api_version is None else with_flags(self, api_version=api_version)

    namespace.__wrapped__ = with_flags  # type: ignore[attr-defined]
    cls.__array_namespace__ = namespace


def keep_protocols() -> None:
    """Collect the members of every protocol once, as later Pythons do."""
    collect = getattr(typing, "_get_protocol_attrs", None)
    if sys.version_info < (3, 12) and collect is not None and not hasattr(collect, "__wrapped__"):
        setattr(typing, "_get_protocol_attrs", functools.cache(collect))  # noqa: B010 - private, and it may be missing
