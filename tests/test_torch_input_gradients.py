"""Derivatives of PyTorch modules in their inputs, against plain autograd of the whole."""

import pytest

import dntk

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from dntk.distill.data.pulling import pull_features  # noqa: E402
from dntk.models.input_gradients import InputDifferentiable, require_input_gradients  # noqa: E402
from dntk_torch import inputs  # noqa: E402
from tests import torch_networks  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")

CASES = {
    "convolutions": (torch_networks.Residual, (2, 6, 5)),
    "attention": (torch_networks.CausalAttention, (4, 6)),
    "signals": (torch_networks.signals, (2, 10)),
    "tied": (torch_networks.TiedLinear, (5,)),
    "unused": (torch_networks.Unused, (5,)),
}


def network(name):
    torch.manual_seed(0)
    make, shape = CASES[name]
    net = make()
    net(torch.randn(8, *shape))  # other running statistics than zero and one
    return net.eval().double(), torch.randn(3, *shape, dtype=torch.float64)


def dense_gradient(net, x, u, v):
    """Gradient of Σ ⟨v, ∇_θ⟨u, f⟩⟩ by differentiating autograd's own gradient."""
    parameters = dict(net.named_parameters())
    leaf, total = x.clone().requires_grad_(True), 0.0
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for i in range(len(x)):
            for q in range(len(u)):
                value = net(leaf[i : i + 1])[0] @ u[q]
                found = torch.autograd.grad(value, list(parameters.values()), create_graph=True, allow_unused=True)
                start = 0
                for parameter, gradient in zip(parameters.values(), found, strict=True):
                    piece = v[i, q, start : start + parameter.numel()].reshape(parameter.shape)
                    start += parameter.numel()
                    if gradient is not None:
                        total = total + (gradient * piece).sum()
    return torch.autograd.grad(total, leaf)[0]


@pytest.mark.parametrize("name", CASES)
def test_input_gradients_are_those_of_plain_autograd(name):
    net, x = network(name)
    model = dntk.as_model(net)
    assert isinstance(model, InputDifferentiable)
    n_outputs = model(x).shape[1]
    u = torch.randn(2, n_outputs, dtype=torch.float64)
    v = torch.randn(3, 2, model.n_parameters, dtype=torch.float64)
    expected = dense_gradient(net, x, u, v)
    found = model.input_gradient(x, u, v)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
    named = model._by_name(v)
    for method in (inputs.by_backward_mode, inputs.by_forward_mode):
        again = method(net, model.selected, x, u, named)
        torch.testing.assert_close(again, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


def test_operations_without_forward_mode_are_differentiated_twice_backward():
    torch.manual_seed(0)
    net, x = torch_networks.Untransformable().eval(), torch.randn(3, 5)
    model = dntk.as_model(net)
    u, v = torch.randn(2, 3), torch.randn(3, 2, model.n_parameters)
    found = model.input_gradient(x, u, v)
    expected = dense_gradient(net, x, u, v)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert [way for _, way in model._findings.input_gradients.found.values()] == [inputs.by_backward_mode]


def test_features_of_a_convolutional_network_are_differentiated_through_their_sketch():
    net, x = network("convolutions")
    model, u = dntk.as_model(net), torch.eye(3, dtype=torch.float64)
    phi = dntk.tangent_features(model, x, sketch=dntk.sketch.Gaussian(12))
    weights = torch.randn(phi.values.shape, dtype=torch.float64)
    found = pull_features(model, x, phi, u, weights)
    expected = dense_gradient(net, x, u, phi.sketch.adjoint(weights.permute(1, 0, 2)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


def test_what_enters_layers_is_observed_and_pulled_back():
    net, x = network("convolutions")
    model = dntk.as_model(net)
    assert model.head(x) == "head"
    assert model.batch_norms() == ("bn1", "bn2")
    seen = model.observe(x, ("bn1", "head", "relu"))
    leaf = x.clone().requires_grad_(True)
    entering = net.conv1(leaf)
    first = torch.relu(net.bn1(entering))
    last = net.down(torch.relu(net.bn2(net.conv2(first)) + first)).mean((2, 3))
    torch.testing.assert_close(seen.inputs["bn1"], entering.detach().movedim(1, -1).flatten(1, 2))
    torch.testing.assert_close(seen.inputs["head"][:, 0], last.detach())
    torch.testing.assert_close(seen.inputs["relu"], net.bn1(entering).detach().reshape(3, -1, 5))
    a, b = torch.randn_like(seen.outputs), torch.randn_like(seen.inputs["bn1"])
    c = torch.randn_like(seen.inputs["head"])
    found = seen.pull(a, {"bn1": b, "head": c})
    value = (net.head(last) * a).sum() + (entering.movedim(1, -1).flatten(1, 2) * b).sum() + (last * c[:, 0]).sum()
    torch.testing.assert_close(found, torch.autograd.grad(value, leaf)[0])


def test_the_module_keeps_no_hook_and_no_gradient():
    net, x = network("convolutions")
    model = dntk.as_model(net)
    seen = model.observe(x, ("bn1",))
    seen.pull(seen.outputs, {})
    model.head(x)
    model.input_gradient(x, torch.eye(3).double(), torch.randn(3, 3, model.n_parameters).double())
    assert not any(layer._forward_pre_hooks for layer in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.usefixtures("unchecked")
def test_unknown_layers_and_token_ids_are_refused():
    net, x = network("convolutions")
    model = dntk.as_model(net)
    with pytest.raises(ValueError, match="no layer 'bn7'; its layers are conv1, bn1"):
        model.observe(x, ("bn7",))
    other, at = network("unused")
    with pytest.raises(ValueError, match="calls no torch.nn.Linear"):
        dntk.as_model(nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten()).eval()).head(torch.randn(2, 2, 2))
    with pytest.raises(ValueError, match="calls no torch.nn.Linear"):  # what enters it are the inputs themselves
        dntk.as_model(nn.Linear(2, 3).eval()).head(torch.randn(4, 2))
    assert dntk.as_model(other).head(at) == "head"
    with pytest.raises(TypeError, match="embeddings can"):
        require_input_gradients(dntk.as_model(torch_networks.Text().eval()), torch.zeros(2, 3, dtype=torch.int64))
