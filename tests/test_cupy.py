"""The CuPy backend: what it says without a GPU, and everything it does on one."""

import subprocess
import sys

import numpy as np
import pytest

import dntk
from dntk.backend import entries, get_backend
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

CUPY = next(library for library in LIBRARIES if library.id == "cupy")
NUMPY = next(library for library in LIBRARIES if library.id == "numpy")

needs_gpu = pytest.mark.skipif(bool(CUPY.why_not()), reason=CUPY.why_not() or "there is a GPU")
without_gpu = pytest.mark.skipif(not CUPY.why_not(), reason="there is a GPU")


def on_gpu(name):
    """Skips where ``name`` (torch or jax) has no GPU of its own."""
    if name == "torch":
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("PyTorch finds no GPU")
        return torch
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX finds no GPU")
    return jax


def torch_net():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)).eval()


def test_registry_knows_cupy_without_importing_it():
    program = (
        "import sys\nfrom dntk.backend import entries\nassert 'cupy' in entries()\nassert 'cupy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})


@without_gpu
def test_registry_says_why_cupy_cannot_be_used():
    status = dntk.backends()["cupy"]
    assert not status.available
    assert status.devices == ()
    assert "cupy is not installed" in status.why_not or "finds no NVIDIA GPU here" in status.why_not
    assert 'pip install "dntk[cupy]"' in status.why_not


@without_gpu
@pytest.mark.usefixtures("unchecked")
def test_cupy_without_gpu_is_refused():
    with pytest.raises(ImportError, match=r"needs cupy, which is not installed|finds no NVIDIA GPU"):
        dntk.bridge(mlp(NUMPY), "cupy")


@without_gpu
def test_entry_names_the_versions_that_will_do():
    entry = entries()["cupy"]
    assert entry.requires == ("cupy",)
    assert "at least 14" in entry.install


@needs_gpu
def test_backend_tells_version_and_gpus():
    import cupy

    status = dntk.backends()["cupy"]
    assert status.available
    assert status.version == cupy.__version__
    assert status.devices == tuple(f"cuda:{i}" for i in range(cupy.cuda.runtime.getDeviceCount()))


@needs_gpu
@pytest.mark.parametrize("device", [None, 0, "cuda:0", "0"])
def test_arrays_are_made_on_the_device_that_is_named(device):
    import cupy

    values = np.arange(6.0).reshape(2, 3)
    array = get_backend("cupy").from_numpy(values, device=device)
    assert array.device == cupy.cuda.Device(0)
    np.testing.assert_array_equal(host(array), values)
    assert get_backend("cupy").from_numpy(values, device=array.device).device == array.device


@needs_gpu
def test_arrays_of_the_gpu_are_taken_without_copy():
    torch = on_gpu("torch")
    tensor = torch.arange(6.0, device="cuda")
    taken = get_backend("cupy").from_dlpack(tensor)
    assert taken.data.ptr == tensor.data_ptr()
    assert get_backend("torch").from_dlpack(taken).data_ptr() == tensor.data_ptr()
    backwards = get_backend("torch").from_dlpack(taken[::-1])
    np.testing.assert_array_equal(backwards.cpu().numpy(), np.arange(6.0)[::-1])


@needs_gpu
def test_perceptron_on_cupy_arrays_is_that_on_numpy_arrays():
    bound = 64 * 16 * np.finfo(np.float32).eps
    kernel, reference = host(dntk.ntk(mlp(CUPY), inputs(CUPY))), dntk.ntk(mlp(NUMPY), inputs(NUMPY))
    np.testing.assert_allclose(kernel, reference, rtol=0, atol=bound * np.max(reference))


@needs_gpu
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_network_of_another_library_is_bridged_in_the_same_memory(library):
    on_gpu(library)
    if library == "torch":
        model = dntk.as_model(torch_net().cuda())
    else:
        model = mlp(next(other for other in LIBRARIES if other.id == "jax"))
    over = dntk.bridge(model, "cupy")
    x = inputs(CUPY)
    inside = get_backend(library).from_dlpack(x)
    np.testing.assert_array_equal(host(over(x)), host(model(inside)))
    first = next(iter(model.parameters.values()))
    address = first.data_ptr() if library == "torch" else first.unsafe_buffer_pointer()
    assert next(iter(over.parameters.values())).data.ptr == address
    assert type(dntk.ntk(over, x)) is type(x)
    kernel, reference = host(dntk.ntk(over, x)), host(dntk.ntk(model, inside))
    # Tensor cores may multiply float32 with ten bits.
    np.testing.assert_allclose(kernel, reference, rtol=0, atol=1e-2 * np.max(reference))


@needs_gpu
def test_torch_network_is_distilled_on_cupy_arrays():
    on_gpu("torch")
    over = dntk.bridge(dntk.as_model(torch_net().cuda()), "cupy")
    x = inputs(CUPY, 60)
    estimator = dntk.DistilledNTK(over, sketch=dntk.sketch.SparseSign(256, seed=0), seed=0).fit(x)
    outputs = host(over(x))
    assert type(estimator.predict(x)) is type(x)
    np.testing.assert_allclose(host(estimator.predict(x)), outputs, atol=0.05 * np.max(np.abs(outputs)))


@needs_gpu
@pytest.mark.usefixtures("unchecked")
def test_network_on_the_cpu_is_refused_with_what_to_do():
    model = dntk.as_model(torch_net())
    with pytest.raises(ValueError, match=r"cupy cannot use the memory of `model`.*on device cpu.*cuda:0"):
        dntk.bridge(model, "cupy")


@needs_gpu
@pytest.mark.usefixtures("unchecked")
def test_functions_of_cupy_arrays_are_refused_with_the_way_around():
    import cupy

    with pytest.raises(TypeError, match=r'no automatic differentiation.*dntk\.bridge\(model, "cupy"\)'):
        dntk.as_model(lambda params, x: x @ params["w"], {"w": cupy.ones((2, 2))})
