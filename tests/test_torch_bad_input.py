"""What is refused, and what the message says."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import dntk
from tests.torch_networks import Text, batch, network, one_thread

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Wrapped(nn.Module):
    """A linear layer, and something done to its outputs."""

    def __init__(self, change):
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.change = change

    def forward(self, x):
        return self.change(self.layer(x))


def wrapped(change):
    torch.manual_seed(0)
    return dntk.as_model(Wrapped(change).eval())


INPUTS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: nn.Linear(5, 3),
            ValueError,
            r"training mode \(the network itself, Linear\).*eval",
        ),
        (lambda: nn.ReLU().eval(), ValueError, "has no parameters"),
        (
            lambda: nn.Linear(5, 3).eval().requires_grad_(False),
            ValueError,
            "none of the network's 2",
        ),
        (lambda: nn.LazyLinear(3).eval(), ValueError, "lazy layer.*run the network once"),
        (lambda: nn.Linear(5, 3, device="meta").eval(), ValueError, "meta device"),
        (
            lambda: nn.BatchNorm1d(5, track_running_stats=False).eval(),
            ValueError,
            "no running statistics.*track_running_stats=True",
        ),
        (
            lambda: nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 3).double()).eval(),
            ValueError,
            "several dtypes.*net.float",
        ),
        (
            lambda: nn.Embedding(5, 3, scale_grad_by_freq=True).eval(),
            ValueError,
            "scale_grad_by_freq",
        ),
        (lambda: nn.Linear(5, 3, dtype=torch.complex64).eval(), TypeError, "complex64"),
    ],
)
def test_networks_without_a_kernel_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        dntk.as_model(make())


def test_parameters_that_are_not_finite_are_refused():
    net = nn.Linear(5, 3).eval()
    with torch.no_grad():
        net.bias[1] = torch.nan
    with pytest.raises(ValueError, match="parameter bias.*NaN"):
        dntk.as_model(net)


def test_the_first_layer_in_training_mode_is_named():
    net = network("residual")
    net.bn2.train()
    with pytest.raises(ValueError, match=r"training mode \('bn2', BatchNorm2d\).*net\.eval\(\)"):
        dntk.as_model(net)


def test_a_network_put_back_into_training_mode_is_refused_at_every_call():
    net, x = network("dense-tanh"), batch("dense-tanh")
    model = dntk.as_model(net)
    model(x)
    net.train()
    calls = [
        lambda: model(x),
        lambda: model.check_inputs(x),
        lambda: list(model.gradient_blocks(x, torch.eye(3))),
        lambda: model.jvp(x, torch.ones(1, model.n_parameters)),
        lambda: model.vjp(x, torch.ones(5, 3)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="training mode"):
            call()


def test_a_name_that_matches_nothing_lists_the_names():
    with pytest.raises(ValueError, match=r"matches none of the 2 .*\(weight, bias\)"):
        dntk.as_model(nn.Linear(5, 3).eval(), parameters="head.*")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h[:, :, None], r"shape \(4, 3, 1\)"),
        (lambda h: h.reshape(1, -1), r"shape \(1, 12\)"),
        (lambda h: (h, h), "returns a tuple.*forward=lambda"),
        (lambda h: {"hidden": h}, "returns a dict.*forward=lambda"),
        (lambda h: h.argmax(1, keepdim=True), "dtype torch.int64.*logits"),
    ],
)
def test_outputs_must_be_one_row_per_input(change, message):
    with pytest.raises(ValueError, match=message):
        wrapped(change)(INPUTS)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h - h.mean(0),
        lambda h: h.softmax(0),
        lambda h: h.flip(0),
        lambda h: h.cumsum(0),
        lambda h: functional.batch_norm(h, None, None, training=True) if h.shape[0] > 1 else h,
    ],
    ids=["centred", "softmax", "flipped", "cumulated", "batch-norm"],
)
def test_outputs_that_depend_on_the_batch_are_refused(change):
    model = wrapped(change)
    for call in (model, lambda x: list(model.gradient_blocks(x, torch.eye(3)))):
        with pytest.raises(ValueError, match="batch dependence"):
            call(INPUTS)


def test_batch_dependence_is_seen_after_a_first_call_with_one_input():
    model = wrapped(lambda h: h - 0.5 * h.mean(0))
    model(INPUTS[:1])
    with pytest.raises(ValueError, match="batch dependence"):
        model(INPUTS)


@pytest.mark.parametrize("change", [lambda h: functional.dropout(h), lambda h: h + 0.01 * torch.randn_like(h)])
def test_outputs_that_change_between_calls_are_refused(change):
    with pytest.raises(ValueError, match="second call.*dropout"):
        wrapped(change)(INPUTS)


def test_outputs_without_a_gradient_are_refused():
    model = wrapped(lambda h: h.detach())
    with pytest.raises(ValueError, match="no gradient of any parameter"):
        list(model.gradient_blocks(INPUTS, torch.eye(3)))


def test_outputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="outputs` has NaN or infinite"):
        wrapped(lambda h: h / 0)(INPUTS)


def test_a_derivative_that_does_not_exist_is_named_with_parameter_and_input():
    x = INPUTS.clone()
    x[2] = 0
    model = wrapped(lambda h: (h - h.detach()).abs().sqrt() + h)
    with pytest.raises(ValueError, match=r"gradient in `layer.weight` is NaN or infinite for 4 of 4 .*no derivative"):
        list(model.gradient_blocks(INPUTS, torch.eye(3)))
    biasless = nn.Sequential(nn.Linear(5, 3, bias=False), _Length()).eval()
    with pytest.raises(ValueError, match=r"gradient in `0.weight` is NaN or infinite for 1 of 4 inputs \(first: row 2"):
        list(dntk.as_model(biasless).gradient_blocks(x, torch.eye(1)))


class _Length(nn.Module):
    def forward(self, h):
        return (h * h).sum(1, keepdim=True).sqrt()


class BatchScaled(torch.autograd.Function):
    """The identity, with a gradient divided by the size of the batch."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, g):
        return g / g.shape[0]


class Unfactored(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 3))

    def forward(self, x):
        return BatchScaled.apply(torch.einsum("ni,io->no", x, self.weight))


def test_gradients_that_depend_on_the_batch_are_refused():
    model = dntk.as_model(Unfactored().eval())
    with pytest.raises(
        ValueError, match=r"do not add up.*in `weight` of Unfactored the network itself; leave them out"
    ):
        list(model.gradient_blocks(INPUTS, torch.eye(3)))


class PartlyUnfactored(nn.Module):
    """A cell whose gradients depend on the batch, and a head."""

    def __init__(self):
        super().__init__()
        self.cell = Unfactored()
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.cell(x))


def test_a_parameter_without_gradients_is_named_with_its_module_and_the_way_around():
    net = PartlyUnfactored().eval()
    with pytest.raises(ValueError, match="in `cell.weight` of Unfactored 'cell'") as caught:
        list(dntk.as_model(net).gradient_blocks(INPUTS, torch.eye(3)))
    pattern = re.search(r'parameters=r"(.*)"', str(caught.value)).group(1)
    model = dntk.as_model(net, parameters=pattern)
    assert list(model.parameters) == ["head.weight", "head.bias"]
    assert sum(block.size for block in model.gradient_blocks(INPUTS, torch.eye(3))) == model.n_parameters


class OneByOne(torch.autograd.Function):
    """The identity, whose backward pass takes batches of several inputs only."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, g):
        if g.shape[0] == 1:
            msg = "no single inputs"
            raise RuntimeError(msg)
        return g


def test_the_reason_why_a_gradient_fails_is_told():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 3))

        def forward(self, x):
            return OneByOne.apply(torch.einsum("ni,io->no", x, self.weight))

    with pytest.raises(ValueError, match=r"fail \(no single inputs\) in `weight` of Failing"):
        list(dntk.as_model(Failing().eval()).gradient_blocks(INPUTS, torch.eye(3)))


class WithoutSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].exp()


def test_a_network_without_directional_derivatives_says_so():
    model = wrapped(WithoutSecondDerivative.apply)
    assert sum(block.size for block in model.gradient_blocks(INPUTS, torch.eye(3))) == model.n_parameters
    with pytest.raises(ValueError, match="lacks forward mode and double backward"):
        model.jvp(INPUTS, torch.ones(1, model.n_parameters))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((4, 5), "f4"), TypeError, "numpy array.*computes with torch"),
        (torch.zeros(4, 5, dtype=torch.int64), TypeError, "int64.*floating point"),
        (torch.zeros(4, 5, dtype=torch.bool), TypeError, "bool.*floating point"),
        (torch.zeros(4, 5, dtype=torch.float64), TypeError, r"float64.*x1?\.to\(torch\.float32\)"),
        (torch.zeros(4, 5, dtype=torch.float16), TypeError, "float16.*torch.float32"),
        (torch.zeros(0, 5), ValueError, "empty"),
        (torch.full((4, 5), torch.nan), ValueError, "NaN"),
        (torch.zeros(4, 5, device="meta"), ValueError, "on device meta"),
        (torch.zeros(4, 7), ValueError, r"fails on inputs of shape \(4, 7\).*shapes"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, error, message):
    model = dntk.as_model(network("dense-tanh"))
    for call in (model, model.check_inputs, lambda x: dntk.ntk(model, x)):
        with pytest.raises(error, match=message):
            call(x)


def test_the_name_of_the_argument_is_in_the_message():
    model = dntk.as_model(network("dense-tanh"))
    with pytest.raises(TypeError, match="`x2` has dtype torch.float64"):
        dntk.ntk(model, INPUTS, INPUTS.double())


def test_token_ids_outside_of_the_table_are_refused():
    torch.manual_seed(0)
    model = dntk.as_model(Text().eval())
    model(torch.zeros(6, 4, dtype=torch.int64))
    late = torch.zeros(6, 4, dtype=torch.int64)
    late[5] = 40
    with pytest.raises(ValueError, match="fails on inputs.*out of range"):
        model(late)


def test_cotangents_and_tangents_of_another_size_are_refused():
    model = dntk.as_model(network("dense-tanh"))
    with pytest.raises(ValueError, match=r"`cotangents` has shape \(4, 4\), expected \(q, 3\)"):
        list(model.gradient_blocks(INPUTS, torch.eye(4)))
    with pytest.raises(ValueError, match=r"`cotangents` has shape \(5, 3\), expected \(6, 3\)"):
        model.vjp(INPUTS, torch.ones(5, 3))
    with pytest.raises(ValueError, match=r"`tangents` has shape \(1, 4\), expected \(q, 59\)"):
        model.jvp(INPUTS, torch.ones(1, 4))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_script_modules_are_refused():
    script = torch.jit.script(nn.Linear(5, 3).eval())
    with pytest.raises(TypeError, match="TorchScript"):
        dntk.as_model(script)


def test_functions_with_parameters_are_refused():
    with pytest.raises(TypeError, match="pass the module itself"):
        dntk.as_model(lambda params, x: x @ params["w"], {"w": torch.ones(5, 3)})


class FromFive(nn.Module):
    """Subtracts the mean of the batch once five inputs come."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        hidden = self.layer(x)
        return torch.tanh(hidden - hidden.mean(0)) if x.shape[0] > 4 else hidden


@pytest.mark.parametrize("cut", [torch.round, torch.sign, lambda h: (h > 0).to(h.dtype) + 0 * h.detach() + 0 * h])
def test_outputs_whose_gradients_are_always_zero_are_refused(cut):
    with pytest.raises(ValueError, match="carry no gradient of any parameter"):
        dntk.ntk(wrapped(cut), INPUTS)


@pytest.mark.parametrize("blank", [1, 4, 6])
def test_inputs_at_which_every_gradient_is_zero_are_taken(blank):
    layers = nn.Sequential(nn.Linear(5, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False)).eval()
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    x[:blank] = 0
    kernel = dntk.ntk(dntk.as_model(layers), x)
    jacobian = torch.func.jacrev(lambda p: torch.func.functional_call(layers, p, x))(dict(layers.named_parameters()))
    rows = torch.cat([part.detach().flatten(2) for part in jacobian.values()], dim=2)
    torch.testing.assert_close(kernel, torch.einsum("icp,jcp->ij", rows, rows) / 3)
    assert bool((kernel[:blank] == 0).all())


def test_dependence_on_batches_larger_than_the_probe_is_told():
    model, x = dntk.as_model(FromFive().eval()), torch.randn(8, 5)
    assert dntk.ntk(model, x[:4]).shape == (4, 4)
    for call in (model, lambda x: dntk.ntk(model, x)):
        with pytest.raises(ValueError, match="batch dependence"):
            call(x)


@pytest.mark.parametrize("first", [4, 8, 20, 33, 70])
@pytest.mark.parametrize("how", [lambda h, _: h - h.mean(0), lambda h, first: h + h[first], lambda h, _: 2 * h])
def test_dependence_of_batches_of_any_size_is_told(first, how):
    def change(h):
        return how(h, first) if h.shape[0] > first else h

    x = torch.randn(80, 5, generator=torch.Generator().manual_seed(0))
    assert wrapped(change)(x[:first]).shape == (first, 3)
    for call in (lambda model: model(x), lambda model: dntk.ntk(model, x, batch_size=80)):
        with pytest.raises(ValueError, match="batch dependence"):
            call(wrapped(change))


@pytest.mark.parametrize("size", [12, 80])
def test_later_inputs_that_depend_on_one_another_are_told(size):
    x = torch.randn(size, 5, generator=torch.Generator().manual_seed(0))
    model = wrapped(lambda h: torch.cat([h[:4], h[4:] + h[4:].sum(0)]) if h.shape[0] > 4 else h)
    for call in (model, lambda x: dntk.ntk(model, x, batch_size=size)):
        with pytest.raises(ValueError, match="batch dependence"):
            call(x)


def test_statistics_of_the_batch_in_a_function_are_told():
    def normalised(h):
        return nn.functional.batch_norm(h, None, None, training=True)

    model = wrapped(normalised)
    with pytest.raises(ValueError, match="batch dependence"):
        model(INPUTS)
    with pytest.raises(ValueError, match="the network fails on inputs of shape .*more than 1 value per channel"):
        model(INPUTS[:1])


def test_logits_wider_than_the_weights_are_taken():
    model, x = wrapped(lambda h: torch.tanh(h).double()), INPUTS
    narrow = wrapped(torch.tanh)
    narrow.module.load_state_dict(model.module.state_dict())
    torch.testing.assert_close(dntk.ntk(model, x), dntk.ntk(narrow, x))
    model.jvp(x, torch.ones(1, model.n_parameters))


def on_tensors():
    """Calls on tensors alone."""
    generator = torch.Generator().manual_seed(3)
    values, y = torch.randn(2, 9, 5, generator=generator), torch.randn(9, 2, generator=generator)
    phi = dntk.TangentFeatures(values)
    kernel, fit = phi.kernel(), dntk.solve.ridge(phi, y, ridge=0.1)
    return {
        "kernel": phi.kernel,
        "predict": lambda: fit.predict(phi),
        "ridge": lambda: dntk.solve.ridge(phi, y, ridge=0.1).weights,
        "kernel_ridge": lambda: dntk.solve.kernel_ridge(phi.kernel(outputs="each"), y, ridge=0.1).dual,
        "alignment": lambda: torch.tensor(dntk.spectrum.alignment(kernel, y)),
        "truncation_rank": lambda: torch.tensor(dntk.spectrum.truncation_rank(kernel, 0.05)),
        "Solution": lambda: dntk.distill.gradients.Solution(3).distill(phi, y).basis,
        "RPCholesky": lambda: dntk.distill.data.RPCholesky(3).select(phi).indices,
        "statistics": lambda: dntk.solve.accumulate([(values, y)]).gram,
        "leave_one_out": lambda: dntk.attribution.leave_one_out(phi, y, ridge=0.1).change(phi),
        "certify": lambda: dntk.certify(phi, dntk.distill.gradients.Principal(3).distill(phi, y)),
    }


@pytest.mark.parametrize("name", on_tensors())
def test_calls_on_tensors_within_autocast_are_refused_and_right_outside_of_it(name):
    # A kernel was wrong by 2e-3 there and called float32, predictions were of 16 bits.
    call = on_tensors()[name]
    expected = call()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(ValueError, match=r"round products of arrays.*torch.autocast\('cpu', enabled=False\)"):
            call()
        with torch.autocast("cpu", enabled=False):
            found = call()
    if isinstance(found, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
