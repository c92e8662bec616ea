"""Networks on accelerators: the same code, the same kernels."""

import copy

import pytest
import torch

import dntk
from dntk_torch.backend import TorchBackend
from tests.torch_networks import batch, network, one_thread

DEVICES = ("cuda", "mps")
NAMES = (
    "dense-gelu-layer-norm",
    "residual",
    "signals",
    "grouped-convolution",
    "transposed-convolution",
    "transposed-convolution-of-signals",
    "transformer-batch-first",
    "causal-attention",
    "bare-parameters",
    "recurrent",
    "text",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(params=DEVICES)
def device(request):
    if not any(found.startswith(request.param) for found in TorchBackend().devices()):
        pytest.skip(f"no {request.param} device")
    return torch.device(request.param, 0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", NAMES)
def test_kernels_on_a_device_are_those_of_the_host(name, device):
    net, x = network(name), batch(name)
    exact = copy.deepcopy(net).double()
    expected = dntk.ntk(dntk.as_model(exact), x.double() if x.is_floating_point() else x, outputs="full")
    model = dntk.as_model(net.to(device))
    found = dntk.ntk(model, x.to(device), outputs="full")
    assert found.device == model.device == device
    # Accelerators may multiply float32 with ten bits: 2**-11 per factor, two factors of a kernel, a few layers.
    error = float((found.cpu().double() - expected).norm() / expected.norm())
    assert error < 2 * 8 * 2.0**-11


@pytest.mark.parametrize("name", NAMES)
def test_closed_forms_on_a_device_are_those_of_the_host(name, device):
    net, x = network(name), batch(name)
    host, model = dntk.as_model(copy.deepcopy(net)), dntk.as_model(net.to(device))
    eye = torch.eye(host(x).shape[1])
    model(x.to(device))
    here = [type(block) for block in host.gradient_blocks(x, eye)]
    assert here == [type(block) for block in model.gradient_blocks(x.to(device), eye.to(device))]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_networks_on_a_device_have_float32_kernels(dtype, device):
    net, x = network("residual").to(device, dtype), batch("residual").to(device, dtype)
    found = dntk.ntk(dntk.as_model(net), x)
    exact = copy.deepcopy(net).cpu().double()  # on the host, as MPS has no float64
    expected = dntk.ntk(dntk.as_model(exact), x.cpu().double())
    assert found.dtype == torch.float32
    # At most twelve operations follow each other, each rounding once; a kernel is a product of two gradients.
    assert float((found.cpu().double() - expected).norm() / expected.norm()) < 2 * 12 * torch.finfo(dtype).eps


def test_recurrent_layers_are_run_without_cudnn(device):
    # cuDNN's recurrent layers refuse to be differentiated in evaluation mode.
    net, x, found = network("recurrent").to(device), batch("recurrent").to(device), []
    net.cell.register_forward_hook(lambda *_: found.append(torch.backends.cudnn.enabled))
    before = torch.backends.cudnn.enabled
    dntk.as_model(net)(x)
    assert found
    assert device.type != "cuda" or not any(found)
    assert torch.backends.cudnn.enabled == before
