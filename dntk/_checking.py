"""Run-time shape and type checks for the whole package, off unless asked for.

``with dntk.checking(): ...`` or the environment variable ``DNTK_CHECK=1`` makes every annotated function and
dataclass of dntk and of its backends check its arguments and its result with jaxtyping and beartype. Until the first
such block nothing is wrapped and nothing costs; from then on a call outside of blocks costs one look-up of a context
variable. The checkers are built at the first checked call of each function. A function that a program has imported by
name before its first block, ``from dntk import ntk``, stays unchecked there; what it calls is checked.
"""

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import FunctionType, ModuleType
from typing import Any, ForwardRef, TypeVar, get_args

_PREFIX = "dntk"
_installing = threading.Lock()
_enabled: ContextVar[bool] = ContextVar("dntk_checking", default=os.environ.get("DNTK_CHECK", "") not in ("", "0"))


@contextlib.contextmanager
def checking(enabled: bool = True) -> Iterator[None]:
    """Check shapes and types of every dntk call inside the block (or, with ``False``, stop checking).

    Examples
    --------
    >>> with dntk.checking():
    ...     dntk.metrics.predicted_labels(np.zeros((3, 2))).shape
    (3,)
    """
    if enabled:
        install()
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def is_checking() -> bool:
    """Whether calls are being checked here and now."""
    return _enabled.get()


def install() -> None:
    """Instrument every dntk module: those that are loaded, and those that are imported from now on."""
    with _installing:
        if any(isinstance(finder, _Finder) for finder in sys.meta_path):
            return
        sys.meta_path.insert(0, _Finder())
        known: dict[FunctionType, Callable[..., Any]] = {}
        for name, module in list(sys.modules.items()):
            if _is_ours(name) and isinstance(module, ModuleType):
                _instrument(module, known)


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
    from jaxtyping import TypeCheckError, jaxtyped

    # The numeric tower lets ridge=1 pass where a float is asked, as PEP 484 says.
    if _speaks_of_shapes(function):
        return jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))(function)
    # Most functions have no array among their arguments: names of sizes need not be remembered for them, which costs
    # as much as ten small functions.
    return beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeCheckError))(function)


def _speaks_of_shapes(function: Callable[..., Any]) -> bool:
    """Whether an annotation has, or as text may have, the shape of an array in it; generators are taken to."""
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        return True
    return any(_has_shape(annotation) for annotation in function.__annotations__.values())


def _has_shape(annotation: Any) -> bool:
    if isinstance(annotation, str | TypeVar | ForwardRef) or hasattr(annotation, "__value__"):  # the last: an alias
        return True
    if isinstance(annotation, list):  # the arguments of a Callable
        return any(map(_has_shape, annotation))
    if type(annotation).__module__.startswith("jaxtyping"):
        return True
    return any(map(_has_shape, get_args(annotation)))


def _instrument(module: ModuleType, known: dict[FunctionType, Callable[..., Any]] | None = None) -> None:
    """Check a module's own functions and classes; with ``known``, also the functions that it imported from others."""
    for name, value in list(vars(module).items()):
        own = getattr(value, "__module__", None) == module.__name__
        if isinstance(value, FunctionType) and _checkable(value) and (own or known is not None):
            if own or _is_ours(value.__module__):
                setattr(module, name, _once(value, {} if known is None else known))
        elif own and isinstance(value, type) and not getattr(value, "_is_protocol", False):
            _instrument_class(value)


def _once(function: FunctionType, known: dict[FunctionType, Callable[..., Any]]) -> Callable[..., Any]:
    """The checked function, the same one wherever it has been imported."""
    if function not in known:
        known[function] = checked(function)
    return known[function]


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


def _is_ours(module: str | None) -> bool:
    """Whether this is dntk or a backend, and not this module."""
    root = (module or "").partition(".")[0]
    return module != __name__ and (root == _PREFIX or root.startswith(_PREFIX + "_"))


class _Loader:
    """Runs the original loader, then instruments the module before anybody imports a name from it."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def create_module(self, spec: Any) -> ModuleType | None:
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._original.exec_module(module)
        _instrument(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Finder:
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if not _is_ours(fullname):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


if _enabled.get():  # before any other module of the package is imported
    install()
