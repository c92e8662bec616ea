"""Networks of 16-bit numbers: run as they are, with kernels in float32."""

import copy

import pytest
import torch

import dntk
from dntk import arrays
from tests.libraries import Library
from tests.torch_networks import batch, network, one_thread

ROUNDING = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
OPERATIONS = 12
"""At most so many operations follow each other in these networks, forward and backward; each rounds once."""

NAMES = [
    "dense-tanh",
    "dense-gelu-layer-norm",
    "residual",
    "signals",
    "grouped-convolution",
    "transposed-convolution",
    "causal-attention",
    "transformer-batch-first",
    "recurrent",
    "text",
    "bare-parameters",
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(params=ROUNDING, ids=str)
def dtype(request):
    return request.param


def narrow(name, dtype):
    """A 16-bit network with its inputs, and the same numbers in float32."""
    net, x = network(name).to(dtype), batch(name)
    x = x.to(dtype) if x.is_floating_point() else x
    wide = x.float() if x.is_floating_point() else x
    return dntk.as_model(net), x, dntk.as_model(copy.deepcopy(net).float()), wide


def relative(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_kernels_of_narrow_networks_are_those_of_wide_ones_to_the_rounding_of_activations(name, dtype):
    model, x, wide, x_wide = narrow(name, dtype)
    found = dntk.ntk(model, x, outputs="full")
    expected = dntk.ntk(wide, x_wide, outputs="full")
    assert model.dtype == dtype
    assert found.dtype == torch.float32
    assert relative(found, expected) < 2 * OPERATIONS * ROUNDING[dtype]  # a product of two gradients


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_everything_of_a_narrow_network_is_float32(name, dtype):
    model, x, wide, x_wide = narrow(name, dtype)
    expected = wide(x_wide)
    assert model(x).dtype == torch.float32
    assert relative(model(x), expected) < OPERATIONS * ROUNDING[dtype]
    tangents = torch.randn(1, model.n_parameters, generator=torch.Generator().manual_seed(0))
    pushed, weights = model.jvp(x, tangents), torch.ones(expected.shape)
    assert pushed.dtype == torch.float32
    assert relative(pushed, wide.jvp(x_wide, tangents)) < OPERATIONS * ROUNDING[dtype]
    pulled = model.vjp(x, weights)
    assert pulled.dtype == torch.float32
    assert relative(pulled, wide.vjp(x_wide, weights)) < OPERATIONS * ROUNDING[dtype]
    assert all(block.dense().dtype == torch.float32 for block in model.gradient_blocks(x, weights[:1]))


def test_products_of_narrow_gradients_are_summed_in_float32(dtype):
    model, x, _, _ = narrow("residual", dtype)
    for block in model.gradient_blocks(x, torch.eye(model(x).shape[1])):
        dense = block.dense().double()
        rounding = block.size * 2.0**-23 * float(dense.norm()) ** 2
        assert float((block.gram(block).double() - dense @ dense.mT).abs().max()) <= rounding


def test_narrow_networks_keep_closed_forms(dtype):
    for name in ("residual", "causal-attention"):
        model, x, wide, x_wide = narrow(name, dtype)
        eye = torch.eye(model(x).shape[1])
        wide(x_wide)
        kinds = [type(block) for block in model.gradient_blocks(x, eye)]
        assert kinds == [type(block) for block in wide.gradient_blocks(x_wide, eye)]


def test_kernel_dtype_widens_16_bit_numbers_only(library: Library):
    xp = arrays.namespace(library.array([1.0]))
    assert arrays.kernel_dtype(xp, xp.float32) == xp.float32
    assert arrays.kernel_dtype(xp, xp.float64) == xp.float64
    if hasattr(xp, "float16"):
        assert arrays.kernel_dtype(xp, xp.float16) == xp.float32


def test_widening_leaves_wide_arrays_and_integers_alone():
    ids, exact = torch.arange(3), torch.ones(3, dtype=torch.float64)
    assert arrays.widened(ids) is ids
    assert arrays.widened(exact) is exact
    assert arrays.widened(torch.ones(3, dtype=torch.bfloat16)).dtype == torch.float32
