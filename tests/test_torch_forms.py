"""What a model tells of the forms of its gradients, and parameters on which nothing depends."""

import pytest
import torch
from torch import nn

import dntk
from dntk.models import GradientForms, ParameterForm
from tests.test_torch_functions import inputs, network, refuse_passes_per_input
from tests.test_torch_model import assembled, kinds, looped_jacobian, relative
from tests.torch_networks import one_thread


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Mixed(nn.Module):
    """A layer, a product without a rule, and a layer and a token that only large inputs use."""

    def __init__(self):
        super().__init__()
        self.first, self.head, self.rare = nn.Linear(8, 6), nn.Linear(6, 3), nn.Linear(8, 3)
        self.matrix, self.token = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(3))

    def forward(self, x):
        y = self.head(torch.tanh(torch.einsum("ni,ij->nj", self.first(x), self.matrix)))
        return y + self.rare(x) * self.token if bool(x.abs().max() > 10) else y


def test_a_model_tells_what_goes_input_by_input_and_why():
    model = dntk.as_model(network(Mixed))
    forms = model.gradient_forms(inputs(5, 8))
    (left,) = forms.per_input
    assert left == ParameterForm(
        name="matrix", size=36, why_not="no rule tells the gradients of what goes into torch.einsum"
    )
    assert forms.share == (model.n_parameters - 36) / model.n_parameters
    first, second = str(forms).splitlines()
    assert first == f"7 of 8 parameters, {forms.share:.2%} of all coordinates, in closed form"
    assert second == f"1 input by input, because {left.why_not}: matrix"


def test_a_network_of_known_layers_is_in_closed_form_altogether():
    forms = dntk.as_model(network(lambda: nn.Sequential(nn.Linear(8, 3)))).gradient_forms(inputs(2, 8))
    assert isinstance(forms, GradientForms)
    assert forms.share == 1
    assert forms.per_input == ()
    assert all(parameter.closed for parameter in forms.parameters)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_parameters_without_influence_have_no_gradient_and_take_no_pass(dtype, monkeypatch):
    net, x = network(Mixed).to(dtype), inputs(5, 8).to(dtype)
    model = dntk.as_model(net, parameters="first.*|head.*|rare.*|token")
    model.gradient_forms(x)

    def refuse(*_arguments):
        raise AssertionError

    monkeypatch.setattr("dntk_torch._blocks.by_loop", refuse)
    blocks = {block.name: block for block in model.gradient_blocks(x, torch.eye(3))}
    assert blocks["rare.weight"].nbytes < blocks["rare.weight"].dense().nbytes
    for name in ("rare.weight", "rare.bias", "token"):
        assert not blocks[name].dense().any()


def test_parameters_without_influence_at_the_probe_may_have_some_later():
    net, x = network(Mixed), inputs(5, 8)
    model = dntk.as_model(net)
    assert "rare.weight" in kinds(model, x)
    expected = looped_jacobian(net, list(model.parameters), 20 * x)
    assert expected[:, :, -27:].any()
    assert relative(assembled(model, 20 * x, torch.eye(3)), expected) < 1e-5


class CoarseNorm(nn.Module):
    """Rows of float64 that are normalised in float32, in the order of their first entries."""

    def __init__(self):
        super().__init__()
        self.first, self.scale, self.head = nn.Linear(8, 6), nn.Parameter(torch.randn(6)), nn.Linear(6, 3)

    def forward(self, x):
        order = x[:, 0].argsort()
        hidden = self.first(x[order]).float()
        hidden = self.scale * (hidden * hidden.square().mean(-1, keepdim=True).rsqrt()).to(x.dtype)
        return self.head(torch.tanh(hidden))[order.argsort()]


def test_networks_of_float64_that_round_to_float32_inside_are_differentiated(monkeypatch):
    net, x = network(CoarseNorm).double(), inputs(5, 8).double()
    x = x[x[:, 0].argsort()]  # in order: every row is its own
    expected = looped_jacobian(net, [name for name, _ in net.named_parameters()], x)
    refuse_passes_per_input(monkeypatch)
    model = dntk.as_model(net)
    assert relative(assembled(model, x, torch.eye(3, dtype=x.dtype)), expected) < 1e-6
    assert kinds(model, x)["first.weight"] == "FactoredBlock"


class Remembering(nn.Module):
    """Looks a bias up once and keeps it."""

    def __init__(self):
        super().__init__()
        self.first, self.head, self.bias = nn.Linear(8, 6), nn.Linear(6, 3), nn.Parameter(torch.randn(3))
        self.kept = {}

    def forward(self, x):
        if "bias" not in self.kept:
            self.kept["bias"] = self.bias[[0, 1, 2, 2, 1, 0]]
        return self.head(torch.tanh(self.first(x) + self.kept["bias"]))


def test_a_parameter_whose_value_a_layer_keeps_is_refused_instead_of_lost():
    net, x = network(Remembering), inputs(5, 8)
    before = dntk.as_model(net)
    fresh = dntk.ntk(before, x)
    assert not net.kept
    assert relative(fresh, dntk.ntk(dntk.as_model(net), x)) < 1e-6
    with torch.no_grad():
        net(x)
    for model in (dntk.as_model(net), before):  # looked at now, and when nothing was kept yet
        with pytest.raises(ValueError, match=r"parameter 'bias' has no influence .* keeps tensors in `kept`"):
            dntk.ntk(model, x)
    rest = dntk.as_model(net, parameters=r"first\..*|head\..*")
    assert dntk.ntk(rest, x).shape == (5, 5)
    net.kept.clear()
    assert relative(fresh, dntk.ntk(dntk.as_model(net), x)) < 1e-6


class Forgetting(Remembering):
    """Keeps it until it trains, as timm's LeViT does with its attention biases."""

    @torch.no_grad()
    def train(self, mode=True):
        super().train(mode)
        if self.kept:
            self.kept = {}
        return self


class Moving(Remembering):
    """Keeps it until it moves."""

    def _apply(self, fn, recurse=True):
        self.kept = {}
        return super()._apply(fn, recurse)


@pytest.mark.parametrize("kind", [Forgetting, Moving])
def test_a_value_that_a_layer_keeps_until_it_trains_or_moves_is_made_anew(kind):
    net, x = network(kind), inputs(5, 8)
    fresh = dntk.ntk(dntk.as_model(net), x)
    with torch.no_grad():
        net(x)
    kept = net.kept["bias"]
    model = dntk.as_model(net)
    assert relative(dntk.ntk(model, x), fresh) < 1e-6
    names = [name for name, _ in net.named_parameters()]
    net.kept.clear()
    expected = looped_jacobian(net, names, x)
    net.kept.clear()
    net.kept["bias"] = kept
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-6
    assert net.kept["bias"] is kept  # the user's own


def test_what_a_layer_is_given_is_not_taken_for_what_it_keeps():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scales = nn.Linear(8, 3), {}

        def train(self, mode=True):
            self.scales = {"first": torch.tensor(2.0)}
            return super().train(mode)

        def forward(self, x):
            return self.layer(x) * self.scales["first"]

    net, x = network(Counted), inputs(5, 8)
    names = [name for name, _ in net.named_parameters()]
    assert relative(assembled(dntk.as_model(net), x, torch.eye(3)), looped_jacobian(net, names, x)) < 1e-6
