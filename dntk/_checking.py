"""Run-time shape and type checks for the whole package, off unless asked for.

``with dntk.checking(): ...`` or the environment variable ``DNTK_CHECK=1`` makes every annotated function and
dataclass of dntk and of its backends check its arguments and its result with jaxtyping and beartype. Off, a call
costs one context-variable look-up; the checkers are built at the first checked call of each function.
"""

import contextlib
import functools
import importlib.abc
import importlib.machinery
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import FunctionType, ModuleType
from typing import Any

_PREFIX = "dntk"
_UNCHECKED_MODULES = ("dntk.checking",)
_enabled: ContextVar[bool] = ContextVar("dntk_checking", default=os.environ.get("DNTK_CHECK", "") not in ("", "0"))


@contextlib.contextmanager
def checking(enabled: bool = True) -> Iterator[None]:
    """Check shapes and types of every dntk call inside the block (or, with ``False``, stop checking)."""
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def is_checking() -> bool:
    """Whether calls are being checked here and now."""
    return _enabled.get()


def install() -> None:
    """Instrument every dntk module that is imported from now on."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with its annotations enforced while checking is on."""
    checker: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checker
        if not _enabled.get():
            return function(*args, **kwargs)
        if checker is None:
            checker = _typechecked(function)
        return checker(*args, **kwargs)

    call.__dntk_checked__ = True  # type: ignore[attr-defined]
    return call


def _typechecked(function: Callable[..., Any]) -> Callable[..., Any]:
    from beartype import BeartypeConf, beartype
    from jaxtyping import jaxtyped

    # The numeric tower lets ridge=1 pass where a float is asked, as PEP 484 says.
    return jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))(function)


def _instrument(module: ModuleType) -> None:
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType) and _checkable(value):
            setattr(module, name, checked(value))
        elif inspect.isclass(value) and not getattr(value, "_is_protocol", False):
            _instrument_class(value)


def _instrument_class(cls: type) -> None:
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and _checkable(value):
            setattr(cls, name, checked(value))
        elif isinstance(value, property) and isinstance(value.fget, FunctionType) and _checkable(value.fget):
            setattr(cls, name, property(checked(value.fget), doc=value.__doc__))
        elif isinstance(value, classmethod | staticmethod) and _checkable(value.__func__):
            setattr(cls, name, type(value)(checked(value.__func__)))


def _checkable(function: Any) -> bool:
    """Annotated and not wrapped: a wrapper, such as a context manager's, returns other things than it says."""
    return bool(getattr(function, "__annotations__", None)) and not hasattr(function, "__wrapped__")


class _Loader(importlib.abc.Loader):
    """Runs the original loader, then instruments the module before anybody imports a name from it."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._original.exec_module(module)
        _instrument(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        root = fullname.partition(".")[0]
        if fullname in _UNCHECKED_MODULES or not (root == _PREFIX or root.startswith(_PREFIX + "_")):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None
