"""Fixtures of all tests: every array library and device, checks switched on."""

import importlib.util
import os

from tests import jax_settings

os.environ.setdefault("DNTK_CHECK", "1")
os.environ.update({**jax_settings.SETTINGS, **os.environ})

import pytest

import dntk
from tests.libraries import LIBRARIES, Library


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request: pytest.FixtureRequest) -> Library:
    """One array library on one device; skipped where it is not installed."""
    chosen: Library = request.param
    reason = chosen.why_not()
    if reason:
        pytest.skip(reason)
    return chosen


@pytest.fixture
def unchecked():
    """Shape checks off, as users have it: the library's own messages must then say what is wrong."""
    with dntk.checking(False):
        yield


@pytest.fixture
def compiled_quickly():
    """Without most of XLA's optimisations where JAX is installed: small arrays spend all their time in them."""
    if importlib.util.find_spec("jax") is None or importlib.util.find_spec("flax") is None:
        yield
        return
    from tests.jax_networks import compiled_quickly as quickly

    with quickly():
        yield
