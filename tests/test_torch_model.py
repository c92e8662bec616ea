"""PyTorch modules as models, against the Jacobian of torch.func in float64."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import dntk
from dntk.ledger import LedgerRecorder
from tests.torch_networks import NETWORKS, Bag, OverwrittenViews, batch, network, one_thread

# PyTorch announces that it pads even kernels unevenly, which is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

FACTORED = {"FactoredBlock", "IndexedBlock", "TiedBlock"}
ATTENTION = {"layer.self_attn.in_proj_weight", "layer.self_attn.out_proj.weight"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def jacobian(net, names, x):
    """(C, n, P) in float64 by reverse mode, one output at a time."""
    exact = copy.deepcopy(net).double()
    x = x.double() if x.is_floating_point() else x
    rest = {name: value.detach() for name, value in exact.named_parameters()}
    chosen = {name: rest.pop(name) for name in names}

    def outputs(some):
        return torch.func.functional_call(exact, {**rest, **some}, (x.clone(),))

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a batching rule that is missing is slow
            found = torch.func.jacrev(outputs)(chosen)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    return torch.cat([found[name].reshape(*found[name].shape[:2], -1) for name in names], dim=2).transpose(0, 1)


def looped_jacobian(net, names, x):
    """The same by plain autograd in float64, for code that function transforms refuse."""
    exact = copy.deepcopy(net).double()
    values = dict(exact.named_parameters())
    chosen = [values[name].requires_grad_() for name in names]
    outputs = exact(x.double() if x.is_floating_point() else x)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(entry, chosen, retain_graph=True)])
        for entry in outputs.flatten()
    ]
    return torch.stack(rows).reshape(*outputs.shape, -1).transpose(0, 1)


def reference(name, net, names, x):
    slow = name in ("untransformable", "text-renormalised", "lying-attribute", "checkpointed")
    return (looped_jacobian if slow else jacobian)(net, names, x)


def relative(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


def assembled(model, x, cotangents):
    """All blocks' gradients at their offsets (q, n, P)."""
    whole = torch.full((cotangents.shape[0], x.shape[0], model.n_parameters), torch.nan)
    whole = whole.to(cotangents)
    for block in model.gradient_blocks(x, cotangents):
        whole[:, :, block.offset : block.offset + block.size] = block.dense()
    return whole


def kinds(model, x):
    eye = torch.eye(model(x).shape[1])
    return {block.name: type(block).__name__ for block in model.gradient_blocks(x, eye)}


@pytest.fixture(params=NETWORKS)
def case(request):
    net = network(request.param)
    return request.param, net, dntk.as_model(net), batch(request.param)


def test_blocks_jvp_and_vjp_are_the_jacobian(case):
    name, net, model, x = case
    expected = reference(name, net, list(model.parameters), x)
    outputs = model(x)
    torch.testing.assert_close(outputs, net(x.clone()).detach())
    assert not outputs.requires_grad
    assert relative(assembled(model, x, torch.eye(outputs.shape[1])), expected) < 1e-5
    generator = torch.Generator().manual_seed(2)
    cotangents = torch.randn(2, outputs.shape[1], generator=generator)
    expected_rows = torch.einsum("qc,cnp->qnp", cotangents.double(), expected)
    assert relative(assembled(model, x, cotangents), expected_rows) < 1e-5
    assert relative(assembled(model, x, cotangents[:1]), expected_rows[:1]) < 1e-5  # has ways of its own
    own = torch.randn(2, *outputs.shape, generator=generator)  # each input's own functionals
    expected_rows = torch.einsum("qnc,cnp->qnp", own.double(), expected)
    assert relative(assembled(model, x, own), expected_rows) < 1e-5
    tangents = torch.randn(2, model.n_parameters, generator=generator)
    pushed = model.jvp(x, tangents)
    assert pushed.shape == (2, *outputs.shape)
    assert relative(pushed, torch.einsum("qp,cnp->qnc", tangents.double(), expected)) < 1e-5
    weights = torch.randn(outputs.shape, generator=generator)
    pulled = model.vjp(x, weights)
    assert relative(pulled, torch.einsum("nc,cnp->p", weights.double(), expected)) < 1e-5
    assert not pushed.requires_grad
    assert not pulled.requires_grad


def test_float64_networks_are_differentiated_in_float64(case):
    name, net, _, x = case
    exact = copy.deepcopy(net).double()
    model = dntk.as_model(exact)
    x = x.double() if x.is_floating_point() else x
    expected = reference(name, net, list(model.parameters), x)
    found = assembled(model, x, torch.eye(model(x).shape[1], dtype=torch.float64))
    assert found.dtype == torch.float64
    assert relative(found, expected) < 1e-12


def test_products_of_blocks_are_products_of_dense_gradients(case):
    _, _, model, x = case
    left = list(model.gradient_blocks(x[:3], torch.eye(model(x).shape[1])))
    right = list(model.gradient_blocks(x[1:], torch.eye(model.n_outputs)))
    for mine, theirs in zip(left, right, strict=True):
        assert (mine.name, mine.offset) == (theirs.name, theirs.offset)
        a, b = mine.dense(), theirs.dense()
        close = {"rtol": 1e-4, "atol": 1e-5 * float(a.norm() * b.norm()) + 1e-12}
        torch.testing.assert_close(mine.gram(theirs), a @ b.mT, **close)
        torch.testing.assert_close(mine.mean_gram(theirs), (a @ b.mT).mean(0), **close)
        every = torch.einsum("qnp,rmp->qnrm", a, b)
        torch.testing.assert_close(mine.cross_gram(theirs), every, **close)


def test_the_module_is_left_as_it_was(case):
    _, net, model, x = case
    state = copy.deepcopy(net.state_dict())
    flags = {name: value.requires_grad for name, value in net.named_parameters()}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    attributes = [set(vars(m)) for m in net.modules()]
    kept = x.clone()
    model(x)
    list(model.gradient_blocks(x, torch.eye(model.n_outputs)))
    model.jvp(x, torch.ones(1, model.n_parameters))
    model.vjp(x, torch.ones(x.shape[0], model.n_outputs))
    assert torch.equal(x, kept)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert flags == {name: value.requires_grad for name, value in net.named_parameters()}
    assert all(value.grad is None for value in net.parameters())
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    assert attributes == [set(vars(m)) for m in net.modules()]


@pytest.mark.parametrize(
    ("name", "factored", "stored"),
    [
        ("dense-relu-inplace", {"0.weight", "2.weight", "3.weight"}, set()),
        ("residual", {"conv1.weight", "conv2.weight", "down.weight"}, {"bn1.weight", "bn2.bias"}),
        ("signals", {"0.weight", "3.weight", "6.weight"}, {"4.weight"}),
        ("text", {"embed.weight", "head.weight"}, set()),
        ("module-used-twice", {"layer.weight"}, set()),
        ("tied-linear", {"first.weight"}, {"first.bias", "second.bias"}),
        ("overwritten-views", {"first.weight", "second.weight"}, set()),
        ("joined-positions", {"first.weight", "second.weight"}, set()),
        ("transformer-batch-second", {"layer.linear1.weight", *ATTENTION}, {"layer.self_attn.in_proj_bias"}),
        ("transformer-batch-first", {"layer.linear2.weight", *ATTENTION}, {"layer.self_attn.out_proj.bias"}),
        ("causal-attention", {"qkv.weight", "out.weight"}, {"norm.weight"}),
        ("hooked", {"0.weight", "2.weight"}, set()),
        ("lying-subclass", {"0.weight", "2.weight"}, {"0.bias"}),
        ("lying-attribute", {"2.weight"}, {"0.weight"}),
        ("functional-use", {"first.weight", "head.weight"}, {"first.bias"}),
        ("bare-parameters", {"matrix", "head.weight"}, {"scale"}),
        ("tied-language-model", {"mix.weight", "embed.weight"}, set()),
        ("grouped-convolution", {"4.weight"}, {"0.weight"}),
        ("depthwise-convolution", {"2.weight", "5.weight"}, {"0.weight", "3.weight"}),
        ("transposed-convolution-of-volumes", {"0.weight"}, {"0.bias"}),
        ("transposed-convolution-of-signals", {"7.weight"}, {"0.weight", "2.weight", "3.weight", "4.weight"}),
        ("transposed-convolution-in-groups", {"4.weight"}, {"0.weight", "2.weight"}),
        ("checkpointed", {"block.0.weight", "block.2.weight", "head.weight"}, set()),
        ("weight-norm", {"2.weight"}, {"0.parametrizations.weight.original1"}),
        ("bilinear", {"first.weight"}, {"product.weight"}),
    ],
)
def test_gradients_are_factored_wherever_that_is_exact(name, factored, stored):
    found = kinds(dntk.as_model(network(name)), batch(name))
    assert {key for key in factored if found[key] in FACTORED} == factored
    assert {key for key in stored if found[key] == "DenseBlock"} == stored


def test_the_plan_of_one_input_is_checked_again_with_more():
    net = network("transformer-batch-second")
    model, x = dntk.as_model(net), batch("transformer-batch-second")
    eye = torch.eye(model(x[:1]).shape[1])
    first = assembled(model, x[:1], eye)
    expected = jacobian(net, list(model.parameters), x)
    assert relative(first, expected[:, :1]) < 1e-5
    assert relative(assembled(model, x, eye), expected) < 1e-5
    assert relative(assembled(model, x[2:3], eye), expected[:, 2:3]) < 1e-5


def test_a_layout_that_one_input_cannot_tell_is_found_with_more():
    model, x = dntk.as_model(network("transformer-batch-second")), torch.randn(5, 1, 8)
    assert kinds(model, x[:1])["layer.linear1.weight"] == "FactoredBlock"
    assert kinds(model, x)["layer.linear1.weight"] == "FactoredBlock"


@pytest.mark.parametrize(
    "name",
    [
        "dense-gelu-layer-norm",
        "residual",
        "signals",
        "volumes",
        "grouped-convolution",
        "depthwise-convolution",
        "transposed-convolution",
        "transposed-convolution-of-signals",
        "transposed-convolution-of-volumes",
        "transposed-convolution-in-groups",
        "checkpointed",
        "text",
        "causal-attention",
        "transformer-batch-first",
        "transformer-batch-second",
        "transformer-as-long-as-the-batch",
        "bare-parameters",
        "functional-use",
        "lying-subclass",
        "module-used-twice",
        "tied-linear",
        "tied-language-model",
        "tied-language-model-with-padding",
        "hooked",
        "joined-positions",
    ],
)
def test_known_layers_need_no_pass_per_input(name, monkeypatch):
    def refuse(*_arguments):
        raise AssertionError

    monkeypatch.setattr("dntk_torch.probe.by_vmap", refuse)
    monkeypatch.setattr("dntk_torch.probe.by_loop", refuse)
    assert kinds(dntk.as_model(network(name)), batch(name))


def test_fused_transformer_layers_are_never_run(monkeypatch):
    def refuse(*_arguments):
        raise AssertionError

    monkeypatch.setattr("torch._transformer_encoder_layer_fwd", refuse)
    net, x = network("transformer-batch-first"), batch("transformer-batch-first")
    model = dntk.as_model(net)
    outputs = model(x)
    model.jvp(x, torch.ones(1, model.n_parameters))
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad(), pytest.raises(AssertionError):
        net(x)
    assert outputs.shape == (5, 3)


def test_padding_positions_have_no_gradient():
    net, x = network("text"), torch.full((3, 6), 2)
    x[:, 0] = 1
    blocks = {b.name: b for b in dntk.as_model(net).gradient_blocks(x, torch.eye(3))}
    table = blocks["embed.weight"].dense().reshape(3, 3, 9, 6)
    assert not table[:, :, 2].any()
    assert table[:, :, 1].any()
    assert (blocks["embed.weight"].ids[:, 1:] == -1).all()
    assert not blocks["embed.weight"].cotangents[:, :, 1:].any()


def test_padding_first_met_after_the_probe_has_no_tangent():
    net = network("text")
    model, names = dntk.as_model(net), ["embed.weight", "head.weight", "head.bias"]
    model.jvp(torch.ones(4, 6, dtype=torch.int64), torch.ones(1, model.n_parameters))
    padded = torch.full((2, 6), 2)
    tangents = torch.randn(1, model.n_parameters, generator=torch.Generator().manual_seed(0))
    expected = jacobian(net, names, padded)
    found = model.jvp(padded, tangents)
    assert relative(found, torch.einsum("qp,cnp->qnc", tangents.double(), expected)) < 1e-5


@pytest.mark.parametrize(
    ("mode", "padding_idx", "form"),
    [
        ("mean", None, "IndexedBlock"),
        ("sum", None, "IndexedBlock"),
        ("mean", 3, "IndexedBlock"),
        ("max", None, "DenseBlock"),
    ],
)
def test_bags_of_embeddings_are_differentiated(mode, padding_idx, form):
    torch.manual_seed(0)
    net, x = Bag(mode, padding_idx).eval(), batch("text")
    x[:, 0] = 3
    model = dntk.as_model(net)
    expected = looped_jacobian(net, list(model.parameters), x)
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5
    assert kinds(model, x)["bag.weight"] == form


class Routed(nn.Module):
    """Takes another way through the network for batches with large inputs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        large = bool(x.abs().max() > 10)
        hidden = torch.einsum("ni,oi->no", x, self.layer.weight) if large else self.layer(x)
        return self.head(torch.tanh(hidden / 10))


def test_inputs_that_take_another_way_than_the_probe_stay_exact():
    torch.manual_seed(0)
    net = Routed().eval()
    model, x = dntk.as_model(net, parameters=".*weight"), torch.randn(4, 5)
    assert kinds(model, x)["layer.weight"] == "FactoredBlock"
    expected = jacobian_of_routed(net, 20 * x)
    assert relative(assembled(model, 20 * x, torch.eye(2)), expected) < 1e-5


def jacobian_of_routed(net, x):
    return looped_jacobian(net, ["layer.weight", "head.weight"], x)


def test_an_input_overwritten_later_is_not_trusted():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 5)
            self.head = nn.Linear(5, 2)

        def forward(self, x):
            hidden = self.layer(x)
            x.mul_(3)  # autograd refuses to differentiate this in the layer's weight
            return self.head(torch.tanh(hidden + x))

    torch.manual_seed(0)
    net = Overwriting().eval()
    model = dntk.as_model(net, parameters="layer.weight")
    with pytest.raises(ValueError, match="autograd cannot differentiate the network"):
        list(model.gradient_blocks(torch.randn(4, 5), torch.eye(2)))


def test_an_input_overwritten_only_after_the_probe_is_an_error():
    class SometimesOverwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 2)

        def forward(self, x):
            hidden = self.layer(x)
            if bool(x.detach().abs().max() > 10):
                x.mul_(0)
            return hidden + x[:, :2]

    model, x = dntk.as_model(SometimesOverwriting().eval()), torch.randn(4, 5)
    list(model.gradient_blocks(x, torch.eye(2)))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        list(model.gradient_blocks(20 * x, torch.eye(2)))


def test_results_do_not_depend_on_the_grad_mode_of_the_caller():
    net, x = network("residual"), batch("residual")
    expected = assembled(dntk.as_model(net), x, torch.eye(3))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            model = dntk.as_model(net)
            torch.testing.assert_close(assembled(model, x.clone(), torch.eye(3)), expected)
            model.jvp(x.clone(), torch.ones(1, model.n_parameters))
            model.vjp(x.clone(), torch.ones(x.shape[0], 3))


def test_a_network_that_computes_in_16_bits_inside_is_told_so():
    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(8, 16), torch.nn.Linear(16, 3)

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
                return self.last(torch.tanh(self.first(x))).float()

    net, x, mixed = Mixed().eval(), torch.linspace(-1, 1, 48).reshape(6, 8), True
    with pytest.raises(ValueError, match="the network computes in bfloat16 inside.* compute in float32"):
        dntk.ntk(dntk.as_model(net), x)
    mixed = False
    assert dntk.ntk(dntk.as_model(net), x).shape == (6, 6)


def test_calls_within_autocast_are_refused_and_right_outside_of_it():
    # Products of gradients would be of 16 bits there: this kernel wrong by 2e-3, and called float32.
    net, x = network("residual"), batch("residual")
    model = dntk.as_model(net)
    expected = dntk.ntk(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for call in (model, lambda x: dntk.ntk(model, x), lambda x: list(model.gradient_blocks(x, torch.eye(3)))):
            with pytest.raises(ValueError, match=r"call dntk outside of it, or within torch.autocast\('cpu', enabled"):
                call(x)
        with torch.autocast("cpu", enabled=False):
            torch.testing.assert_close(dntk.ntk(model, x), expected, rtol=0, atol=0)


def test_no_mode_of_the_adapter_reaches_the_consumer_of_blocks():
    model, x = dntk.as_model(network("residual")), batch("residual")
    with torch.no_grad():
        for _ in model.gradient_blocks(x, torch.eye(model(x).shape[1])):
            assert not torch.is_grad_enabled()


def test_attributes_that_forward_sets_are_put_back():
    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 2)
            self.last = None
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.last = self.layer(x)
            return torch.tanh(self.last)

    net = Remembering().eval()
    model, x = dntk.as_model(net), torch.randn(4, 5)
    dntk.ntk(model, x)
    model.jvp(x, torch.ones(1, model.n_parameters))
    assert net.last is None
    assert float(net.calls) == 0


def test_frozen_parameters_are_left_out_unless_asked_for():
    net, x = network("dense-relu-inplace"), batch("dense-relu-inplace")
    net[0].requires_grad_(False)
    model = dntk.as_model(net)
    assert list(model.parameters) == ["2.weight", "2.bias", "3.weight", "3.bias"]
    asked = dntk.as_model(net, parameters=r"0\..*|3\.bias")
    assert list(asked.parameters) == ["0.weight", "0.bias", "3.bias"]
    for some in (model, asked, dntk.as_model(model, parameters="0.weight"), asked.subset("2.*")):
        names = list(some.parameters)
        expected = jacobian(net, names, x)
        assert some.n_parameters == expected.shape[2]
        assert relative(assembled(some, x, torch.eye(3)), expected) < 1e-5
    assert [value.requires_grad for value in net[0].parameters()] == [False, False]


def test_a_model_tells_where_and_what_it_is():
    import array_api_compat

    net, x = network("residual"), batch("residual")
    model = dntk.as_model(net)
    assert isinstance(model, dntk.Model)
    assert model.namespace is array_api_compat.array_namespace(x)
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    assert model.n_parameters == sum(value.numel() for value in net.parameters())
    assert not any(value.requires_grad for value in model.parameters.values())


@pytest.mark.parametrize("name", ["dense-tanh", "residual", "text", "causal-attention"])
def test_the_number_of_outputs_is_known_before_the_first_input(name):
    model = dntk.as_model(network(name))
    known = model.n_outputs
    assert known == model(batch(name)).shape[1]


def test_an_unknown_number_of_outputs_says_what_to_do():
    model, x = dntk.as_model(network("grouped-convolution")), batch("grouped-convolution")
    with pytest.raises(AttributeError, match=r"call model\(x\) once"):
        _ = model.n_outputs
    assert isinstance(model, dntk.Model)
    assert dntk.ntk(model, x).shape == (5, 5)
    assert model.n_outputs == 2


def test_kernels_and_features_of_a_module_agree_with_the_jacobian():
    net, x = network("residual"), batch("residual")
    model = dntk.as_model(net)
    every = jacobian(net, list(model.parameters), x)
    kernel = dntk.ntk(model, x, outputs="full", batch_size=2)
    assert relative(kernel, torch.einsum("cnp,dmp->nmcd", every, every)) < 1e-5
    phi = dntk.tangent_features(model, x, sketch=None)
    assert relative(phi.values, every) < 1e-5


def test_the_ledger_counts_what_was_differentiated():
    net, x = network("bare-parameters"), batch("bare-parameters")
    model, recorder = dntk.as_model(net), LedgerRecorder()
    eye = torch.eye(model(x).shape[1])
    with recorder.stage("probes"):
        list(model.gradient_blocks(x, eye))
    with recorder.stage("blocks"):
        list(model.gradient_blocks(x, eye))
    cost = recorder.ledger()["blocks"]
    assert (cost.forward_passes, cost.backward_passes) == (5, 15)
    # The matrix (20 products an input) and the head (12) forward; backward the head alone, down to the matrix.
    assert cost.flops == 2 * 5 * (20 + 12) + 3 * 2 * 5 * 12
    assert recorder.ledger()["probes"].flops > cost.flops


def test_more_inputs_than_the_probe_and_another_shape_stay_exact():
    torch.manual_seed(0)
    net = OverwrittenViews().eval()
    model = dntk.as_model(net)
    for length in (4, 9):
        x = torch.randn(9, length, 5)
        expected = jacobian(net, list(model.parameters), x)
        assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5
