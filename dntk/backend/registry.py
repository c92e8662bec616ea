"""The registry that finds backends by entry point.

A backend supplies what array namespaces lack and turns a framework's networks into models. It is registered under
the entry-point group ``dntk.backends`` by a :class:`BackendEntry`, named after the root module of its namespace
("numpy", "torch", "jax", "mlx", ...), whose module imports no framework. Nothing is imported until an array or a
network of that framework arrives.
"""

import dataclasses
import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import array_api_compat

from dntk.backend.protocol import Backend
from dntk.backend.standard import StandardBackend
from dntk.types import Array

GROUP = "dntk.backends"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackendEntry:
    """What the registry knows of a backend before its framework is imported.

    ``modules`` are the root modules of the networks it understands, ``requires`` the modules that must be
    importable, ``install`` the command that a user needs when they are not.
    """

    name: str
    modules: tuple[str, ...]
    requires: tuple[str, ...]
    install: str
    load: Callable[[], Backend]

    def missing(self) -> tuple[str, ...]:
        """Required modules that are not installed."""
        return tuple(m for m in self.requires if not _importable(m))


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackendStatus:
    """One row of :func:`backends`: what is installed, and if not, why and what to do."""

    name: str
    available: bool
    version: str
    devices: tuple[str, ...]
    autodiff: str
    why_not: str


@functools.lru_cache(maxsize=1)
def entries() -> dict[str, BackendEntry]:
    """Registered backends by name, found by entry point."""
    points = importlib.metadata.entry_points(group=GROUP)
    return {point.name: _entry(point) for point in sorted(points, key=lambda p: p.name)}


def _entry(point: Any) -> BackendEntry:  # of the backport where that is installed, whose class is another
    try:
        entry: BackendEntry = point.load()
    except Exception as error:  # one broken plug-in, whatever is wrong with it, must not stop the others
        cause = f"{error}; reinstall its package"

        def load() -> Backend:
            raise ImportError(cause)

        return BackendEntry(name=point.name, modules=(), requires=(), install="", load=load)
    return entry


@functools.cache
def _loaded(name: str) -> Backend:
    entry = entries()[name]
    missing = entry.missing()  # once: looking for a module that is not loaded yet costs more than small algorithms
    if missing:
        msg = f"backend {name!r} needs {', '.join(missing)}, which is not installed: {entry.install}"
        raise ImportError(msg)
    return entry.load()


def get_backend(name: str) -> Backend:
    """Backend registered under ``name``.

    Raises
    ------
    ValueError
        No backend of that name is registered.
    ImportError
        Its framework is not installed; the message says how to get it.
    """
    known = entries()
    if name not in known:
        msg = f"no backend is called {name!r}; registered are: {', '.join(sorted(known))}."
        raise ValueError(msg)
    return _loaded(name)


def backend_of(x: Array) -> Backend:
    """Backend that owns the array ``x``; a plain one built on the standard alone where none is registered."""
    xp = array_api_compat.array_namespace(x)
    name = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    if name in entries():
        return get_backend(name)
    return StandardBackend(xp=xp)


def root_modules(value: Any) -> set[str]:
    """Root modules of the classes of an object, such as ``{"torch", "builtins"}``."""
    return {cls.__module__.partition(".")[0] for cls in type(value).__mro__}


def backend_for_network(net: Any) -> Backend:
    """Backend whose framework's class ``net`` is, by the modules of its bases.

    Raises
    ------
    TypeError
        No registered backend understands the network.
    """
    roots = root_modules(net)
    for name, entry in entries().items():
        if roots & set(entry.modules):
            return get_backend(name)
    understood = ", ".join(sorted({m for e in entries().values() for m in e.modules}))
    msg = (
        f"cannot make a model of a {type(net).__module__}.{type(net).__qualname__}: expected a network of one of "
        f"{understood}, or a dntk.MLP. Other frameworks plug in through the entry-point group {GROUP!r}."
    )
    raise TypeError(msg)


def backends() -> dict[str, BackendStatus]:
    """What is installed: name, version, devices, autodiff, and why a backend is not available.

    Examples
    --------
    >>> found = dntk.backends()
    >>> found["numpy"].available, found["numpy"].devices
    (True, ('cpu',))
    """
    return {name: _status(entry) for name, entry in entries().items()}


def _status(entry: BackendEntry) -> BackendStatus:
    missing = entry.missing()
    if missing:
        why = f"{', '.join(missing)} is not installed: {entry.install}"
        return BackendStatus(name=entry.name, available=False, version="", devices=(), autodiff="", why_not=why)
    try:
        backend = _loaded(entry.name)
    except Exception as error:  # a broken installation is a reason, not a crash
        why = f"import failed: {error}" + (f"; {entry.install}" if entry.install else "")
        return BackendStatus(name=entry.name, available=False, version="", devices=(), autodiff="", why_not=why)
    return BackendStatus(
        name=entry.name,
        available=True,
        version=backend.version,
        devices=backend.devices(),
        autodiff=backend.autodiff,
        why_not="",
    )
