"""The registry of backends, and what every backend supplies besides its namespace, against SciPy."""

import importlib.metadata
import importlib.util

import array_api_compat
import numpy as np
import pytest
import scipy.linalg
import scipy.special

import dntk
from dntk.backend import GROUP, Backend, backend_for_network, backend_of, entries, get_backend, registry
from tests.libraries import Library, host


def float_of(library):
    return np.float64 if library.has_float64 else np.float32


@pytest.fixture
def registered(monkeypatch):
    """Replaces the installed entry points by given ones, named and located."""

    def register(**locations):
        points = [
            importlib.metadata.EntryPoint(name=name, value=value, group=GROUP) for name, value in locations.items()
        ]
        found = {GROUP: points}
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found[group])
        _forget()

    yield register
    monkeypatch.undo()
    _forget()


def _forget():
    entries.cache_clear()
    registry._loaded.cache_clear()


@pytest.fixture
def uninstalled(monkeypatch):
    """Hides a module from whoever asks whether it is installed, as in a process that has not used it."""
    find_spec = importlib.util.find_spec

    def hide(module):
        registry._loaded.cache_clear()
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: None if name == module else find_spec(name, *rest),
        )

    return hide


def test_registry_lists_the_backends_of_this_distribution_by_name():
    assert {"numpy", "torch", "jax"} <= set(dntk.backends())
    for name, status in dntk.backends().items():
        assert status.name == name


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_available_backend_tells_version_devices_and_what_it_differentiates(name):
    module = pytest.importorskip(name)
    status = dntk.backends()[name]
    assert status.available
    assert status.version == module.__version__
    assert len(status.devices) >= 1
    assert "dntk.MLP" in status.autodiff
    assert status.why_not == ""
    assert isinstance(get_backend(name), Backend)


def test_missing_framework_is_a_reason_with_the_command_that_installs_it(uninstalled):
    uninstalled("torch")
    status = dntk.backends()["torch"]
    assert not status.available
    assert "torch is not installed" in status.why_not
    assert 'pip install "dntk[torch]"' in status.why_not
    assert status.devices == ()
    assert dntk.backends()["numpy"].available


@pytest.mark.usefixtures("unchecked")
def test_backend_of_a_missing_framework_is_refused_with_the_command_that_installs_it(uninstalled):
    uninstalled("jax")
    message = r"backend 'jax' needs jax, which is not installed: pip install \"dntk\[jax\]\""
    with pytest.raises(ImportError, match=message):
        get_backend("jax")


def test_broken_plug_in_is_a_reason_and_leaves_the_others_alone(registered):
    registered(mlx="dntk_no_such_module:entry", numpy="dntk_numpy:entry")
    statuses = dntk.backends()
    assert not statuses["mlx"].available
    assert "import failed" in statuses["mlx"].why_not
    assert "dntk_no_such_module" in statuses["mlx"].why_not
    assert statuses["numpy"].available
    assert backend_of(np.ones(1)).name == "numpy"
    with pytest.raises(ImportError, match="dntk_no_such_module"):
        get_backend("mlx")


def test_broken_plug_in_tells_what_to_do(registered):
    registered(mlx="dntk_no_such_module:entry")
    assert "reinstall" in dntk.backends()["mlx"].why_not


def test_plug_in_without_the_promised_entry_is_a_reason(registered):
    registered(mlx="dntk_numpy:no_such_name", numpy="dntk_numpy:entry")
    assert not dntk.backends()["mlx"].available
    assert dntk.backends()["numpy"].available


def test_framework_that_cannot_be_imported_is_a_reason(monkeypatch):
    def load():
        message = "libcudart.so: cannot open shared object file"
        raise OSError(message)

    entry = registry.BackendEntry(name="broken", modules=(), requires=(), install="", load=load)
    monkeypatch.setattr(registry, "entries", lambda: {"broken": entry})
    status = dntk.backends()["broken"]
    assert not status.available
    assert "import failed: libcudart.so" in status.why_not


@pytest.mark.usefixtures("unchecked")
def test_unknown_backend_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"no backend is called 'mlx'; registered are: .*numpy.*torch"):
        get_backend("mlx")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("net", [object(), 3, len], ids=["object", "number", "function"])
def test_network_of_no_framework_is_refused_with_how_to_plug_in(net):
    message = r"cannot make a model of a builtins\..*expected .*sklearn, torch"
    with pytest.raises(TypeError, match=message) as caught:
        backend_for_network(net)
    assert GROUP in str(caught.value)
    assert "dntk.MLP" in str(caught.value)


def test_network_is_known_by_the_module_of_any_base():
    torch = pytest.importorskip("torch")

    class Mine(torch.nn.Linear):
        pass

    assert backend_for_network(Mine(1, 1)).name == "torch"


def test_third_party_backend_serves_its_framework(registered, monkeypatch, tmp_path):
    """A module beside dntk, found by entry point alone."""
    (tmp_path / "third_party.py").write_text(
        "from dntk.backend import BackendEntry\n"
        "class Net: pass\n"
        "class Served:\n"
        "    name, version, autodiff = 'third', '1', ''\n"
        "    def devices(self): return ()\n"
        "    def as_model(self, net, params, parameters, forward): return ('model', parameters)\n"
        "entry = BackendEntry(name='third', modules=('third_party',), requires=(), install='',\n"
        "                     load=Served)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registered(third="third_party:entry")
    import third_party

    with dntk.checking(False):
        assert dntk.as_model(third_party.Net(), parameters="w") == ("model", "w")


def test_backend_of_an_array_is_that_of_its_library(library):
    backend = backend_of(library.array(np.ones(2)))
    assert backend.name == library.module
    assert isinstance(backend, Backend)
    assert backend.namespace() is array_api_compat.array_namespace(library.array(np.ones(2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(), (4,), (3, 2), (0, 2)])
def test_arrays_survive_the_way_to_the_library_and_back(library, dtype, shape):
    if np.dtype(dtype).itemsize == 8 and not library.has_float64:
        pytest.skip("no 64-bit numbers")
    values = (np.random.default_rng(0).normal(size=shape) * 9).astype(dtype)
    backend = backend_of(library.array(np.ones(1)))
    array = backend.from_numpy(values, device=library.place())
    assert type(array) is type(library.array(np.ones(1)))
    assert array.device == library.array(np.ones(1)).device
    back = backend.to_numpy(array)
    assert isinstance(back, np.ndarray)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, values)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_tensors_made_from_read_only_memory_do_not_write_into_it():
    """As the host copies of JAX arrays are."""
    pytest.importorskip("torch")
    frozen = np.ones(2)
    frozen.flags.writeable = False
    get_backend("torch").from_numpy(frozen)[0] = 7
    np.testing.assert_array_equal(frozen, 1)


def test_moved_arrays_do_not_share_memory_with_the_original():
    pytest.importorskip("torch")
    original = np.ones((2, 2))
    moved = dntk.MLP(weights=(original,), biases=(None,)).to("torch")
    original[:] = 7
    np.testing.assert_array_equal(host(moved.weights[0]), 1)


@pytest.mark.parametrize("size", [3, 40])
def test_scatter_add_adds_repeated_indices(library, size):
    dtype = float_of(library)
    rng = np.random.default_rng(1)
    updates, weights = rng.normal(size=(6, 4)).astype(dtype), rng.normal(size=(6, 3)).astype(dtype)
    index = rng.integers(0, 3, size=(6, 3))
    index[0] = 2  # one update thrice into one row
    expected = np.zeros((size, 4))
    for j in range(6):
        for z in range(3):
            expected[index[j, z]] += weights[j, z] * updates[j]
    arrays = [library.array(a) for a in (updates, index, weights)]
    actual = backend_of(arrays[0]).scatter_add(*arrays, size)
    assert actual.dtype == arrays[0].dtype
    assert actual.device == arrays[0].device
    bound = 8 * 18 * np.finfo(dtype).eps * np.max(np.abs(expected))
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("batch", [(), (3,)], ids=["one", "batch"])
def test_triangular_solve_reads_its_triangle_alone(library, lower, batch):
    dtype = float_of(library)
    rng = np.random.default_rng(2)
    factor = (rng.normal(size=(*batch, 4, 4)) + 4 * np.eye(4)).astype(dtype)
    rhs = rng.normal(size=(*batch, 4, 2)).astype(dtype)
    backend = backend_of(library.array(rhs))
    actual = backend.triangular_solve(library.array(factor), library.array(rhs), lower=lower)
    expected = np.empty(rhs.shape)
    for at in np.ndindex(batch):
        expected[at] = scipy.linalg.solve_triangular(factor[at].astype(float), rhs[at], lower=lower)
    # Backward stable, with condition numbers below 10.
    bound = 8 * 4 * 10 * np.finfo(dtype).eps * np.max(np.abs(expected))
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=bound)


def test_error_function_is_that_of_scipy(library):
    dtype = float_of(library)
    x = np.concatenate([np.linspace(-7, 7, 281), [1e-3, -1e-6, 30, -30]]).astype(dtype)
    array = library.array(x)
    actual = backend_of(array).erf(array)
    assert actual.dtype == array.dtype
    expected = scipy.special.erf(x.astype(np.float64))
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=8 * np.finfo(dtype).eps)


def test_waiting_for_an_array_changes_nothing(library):
    array = library.array(np.ones(2, np.float32))
    assert backend_of(array).synchronize(array) is None
    np.testing.assert_array_equal(host(array), 1)


@pytest.mark.usefixtures("unchecked")
def test_parameters_beside_a_network_are_refused_where_functions_are_not_supported():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"for PyTorch pass the module itself"):
        dntk.as_model(lambda params, x: params * x, {"w": torch.ones(1)})


def test_library_of_the_tests_knows_why_it_is_not_there():
    assert Library("x", "no_such_library").why_not() == "no_such_library is not installed"
