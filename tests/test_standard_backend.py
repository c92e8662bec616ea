"""The backend for namespaces that nobody registered, on array-api-strict and its devices."""

import array_api_strict
import numpy as np
import pytest
import scipy.special

from dntk.backend import backend_of
from dntk.backend.standard import StandardBackend


def on_device1(values):
    return array_api_strict.asarray(values, device=array_api_strict.Device("device1"))


def test_unregistered_namespace_gets_the_standard_backend():
    backend = backend_of(array_api_strict.ones(1))
    assert backend == StandardBackend(xp=array_api_strict)
    assert backend.name == "array_api_strict"
    assert backend.version == array_api_strict.__version__
    assert backend.namespace() is array_api_strict
    assert backend.autodiff == ""
    assert any("device1" in name for name in backend.devices())


def test_host_copies_are_copies():
    array = array_api_strict.ones(3)
    StandardBackend(xp=array_api_strict).to_numpy(array)[:] = 5
    assert float(array_api_strict.sum(array)) == 3


def test_arrays_reach_and_leave_every_device():
    backend = StandardBackend(xp=array_api_strict)
    array = backend.from_numpy(np.arange(3.0), device=array_api_strict.Device("device1"))
    assert array.device == array_api_strict.Device("device1")
    np.testing.assert_array_equal(backend.to_numpy(array), [0, 1, 2])


@pytest.mark.parametrize("entries", [1, 100, 2**22])
def test_scatter_add_in_chunks_of_any_size_is_the_same(monkeypatch, entries):
    monkeypatch.setattr("dntk.backend.standard._ONE_HOT_ENTRIES", entries)
    updates, index, weights = (
        np.arange(12.0).reshape(6, 2),
        np.arange(18).reshape(6, 3) % 5,
        np.arange(18.0).reshape(6, 3) - 9,
    )
    expected = np.zeros((5, 2))
    for j, z in np.ndindex(6, 3):
        expected[index[j, z]] += weights[j, z] * updates[j]
    backend = StandardBackend(xp=array_api_strict)
    actual = backend.scatter_add(on_device1(updates), on_device1(index), on_device1(weights), 5)
    np.testing.assert_array_equal(backend.to_numpy(actual), expected)  # whole numbers: exact


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_function_is_accurate_from_the_middle_to_the_tails(dtype):
    half = np.linspace(0, 6.5, 2001).astype(dtype)
    x = np.concatenate([-half[::-1], half])
    backend = StandardBackend(xp=array_api_strict)
    actual = backend.to_numpy(backend.erf(on_device1(x)))
    assert actual.dtype == dtype
    error = np.abs(actual - scipy.special.erf(x.astype(np.float64)))
    assert np.max(error) <= 5 * np.finfo(dtype).eps
    np.testing.assert_array_equal(actual, -actual[::-1])


def test_error_function_at_the_ends_and_at_zero():
    backend = StandardBackend(xp=array_api_strict)
    x = array_api_strict.asarray([np.inf, -np.inf, 0.0, np.nan, 1e100])
    np.testing.assert_array_equal(backend.to_numpy(backend.erf(x)), [1, -1, 0, np.nan, 1])


@pytest.mark.usefixtures("unchecked")
def test_networks_are_refused():
    with pytest.raises(TypeError, match="'array_api_strict' has no registered backend, so a dict"):
        StandardBackend(xp=array_api_strict).as_model({}, None, None)
