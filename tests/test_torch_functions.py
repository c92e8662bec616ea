"""Parameters used without the layers made for them: attention, products, tables, shifts and scales."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack

import dntk
from dntk_torch.calls import Functions
from dntk_torch.functional_capture import Recorder
from dntk_torch.probe import make_plan
from tests.test_torch_model import FACTORED, assembled, jacobian, kinds, looped_jacobian, relative
from tests.torch_networks import one_thread


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Attending(nn.Module):
    """Attention from an input's positions to a memory made of them, and a head."""

    def __init__(self, *, memory=False, **options):
        super().__init__()
        width = options.get("kdim", 8)
        self.memory = nn.Linear(8, width) if memory else None
        self.attention = nn.MultiheadAttention(8, 2, **options)
        self.head = nn.Linear(8, 3)
        with torch.no_grad():
            for value in self.attention.parameters():
                value.normal_(std=0.3)

    def forward(self, x):
        first = self.attention.batch_first
        x = x if first else x.transpose(0, 1)
        keys = x if self.memory is None else torch.tanh(self.memory(x))[1:]
        keys = keys if first or self.memory is None else keys[:2]
        mixed = self.attention(x, keys, keys, need_weights=False)[0]
        return self.head(torch.tanh(mixed).mean(1 if first else 0))


class CrossAttending(nn.Module):
    """Queries, keys and values that all differ."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        mixed, weights = self.attention(x, torch.tanh(x)[:, 1:], x[:, 1:] ** 2)
        return self.head(mixed.mean(1)) + weights.sum((1, 2))[:, None]


class Decoding(nn.Module):
    """A decoder that attends to itself, then to a memory."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.TransformerDecoderLayer(8, 2, 12, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.head(self.decoder(x, torch.tanh(x)[:, :2], tgt_mask=mask, tgt_is_causal=True)[:, -1])


class VisionTransformer(nn.Module):
    """Patches, a class token, positions and a scale of the residual branch, all bare parameters."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Parameter(torch.randn(8, 1, 2, 2))
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.scale = nn.Parameter(torch.randn(8))
        self.norm = nn.Parameter(torch.randn(8))
        self.block = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        patches = functional.conv2d(x, self.patch, stride=2).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.position
        normed = self.norm * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
        return self.head((x + self.scale * torch.tanh(self.block(normed)))[:, 0])


class StoredTransposed(nn.Module):
    """Linear maps whose weights are (in, out), as in GPT-2."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6))
        self.bias = nn.Parameter(torch.randn(6))
        self.out = nn.Parameter(torch.randn(6, 3))

    def forward(self, x):
        flat = torch.addmm(self.bias, x.reshape(-1, 8), self.weight)
        return torch.tanh(flat.reshape(*x.shape[:-1], 6)).mean(1).mm(self.out)


class Packed(nn.Module):
    """Two projections in one weight and one bias, applied to different inputs."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(7, 8))
        self.bias = nn.Parameter(torch.randn(7))

    def forward(self, x):
        top, bottom = self.weight[:4], self.weight[4:]
        first, second = self.bias.split([4, 3])
        hidden = torch.tanh(functional.linear(x, top, first)).mean(1)
        return functional.linear(x.pow(2).mean(1), bottom, second) * hidden.sum(1, keepdim=True)


class Slices(nn.Module):
    """A matrix used by columns, which lie apart in memory."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8))

    def forward(self, x):
        return functional.linear(x[:, 0, :4], self.weight[:, :4]) * (x[:, 1] @ self.weight.T)


class Normalised(nn.Module):
    """Functions of norms, tables and transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.scales = nn.Parameter(torch.randn(3, 8))
        self.shifts = nn.Parameter(torch.randn(2, 8))
        self.table = nn.Parameter(torch.randn(10, 8))
        self.kernel = nn.Parameter(torch.randn(4, 3, 2))

    def forward(self, x):
        x = functional.layer_norm(x, (8,), self.scales[0], self.shifts[0])
        x = x + functional.embedding((x > 0).long().sum(-1).detach(), self.table[1:], padding_idx=-1)
        x = functional.rms_norm(torch.tanh(x), (8,), self.scales[1])
        x = functional.group_norm(x.transpose(1, 2), 4, self.scales[2], self.shifts[1])
        return torch.tanh(functional.conv_transpose1d(x.transpose(1, 2), self.kernel, stride=2)).mean(2)


NETWORKS = {
    "self-attention": (lambda: Attending(batch_first=True), {"attention.in_proj_weight", "attention.out_proj.weight"}),
    "self-attention-batch-second": (Attending, {"attention.in_proj_weight", "attention.out_proj.weight"}),
    "attention-to-memory": (lambda: Attending(memory=True), {"attention.in_proj_weight", "memory.weight"}),
    "attention-without-biases": (lambda: Attending(batch_first=True, bias=False), {"attention.in_proj_weight"}),
    "attention-of-other-widths": (
        lambda: Attending(memory=True, kdim=5, vdim=5),
        {"attention.q_proj_weight", "attention.k_proj_weight", "attention.v_proj_weight"},
    ),
    "attention-with-extra-keys": (
        lambda: Attending(batch_first=True, add_bias_kv=True, add_zero_attn=True),
        {"attention.in_proj_weight"},
    ),
    "cross-attention": (CrossAttending, {"attention.in_proj_weight", "attention.out_proj.weight"}),
    "decoder": (
        Decoding,
        {"decoder.self_attn.in_proj_weight", "decoder.multihead_attn.in_proj_weight", "decoder.linear1.weight"},
    ),
    "stored-transposed": (StoredTransposed, {"weight", "out"}),
    "packed": (Packed, {"weight"}),
    "normalised": (Normalised, {"table"}),
}


def network(make):
    torch.manual_seed(0)
    return make().eval()


def inputs(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def refuse_passes_per_input(monkeypatch):
    def refuse(*_arguments):
        raise AssertionError

    monkeypatch.setattr("dntk_torch.probe.by_vmap", refuse)
    monkeypatch.setattr("dntk_torch.probe.by_loop", refuse)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_functions_are_the_jacobian_in_factored_form(name, monkeypatch):
    make, factored = NETWORKS[name]
    net, x = network(make), inputs(5, 4, 8)
    expected = looped_jacobian(net, [name for name, _ in net.named_parameters()], x)
    refuse_passes_per_input(monkeypatch)
    model = dntk.as_model(net)
    eye = torch.eye(model(x).shape[1])
    assert relative(assembled(model, x, eye), expected) < 1e-5
    found = kinds(model, x)
    assert {key for key in factored if found[key] in FACTORED} == factored


def test_only_calls_that_layers_do_not_show_are_recorded_as_functions():
    net, x = network(CrossAttending), inputs(5, 4, 8)
    model = dntk.as_model(net)
    kinds(model, x)
    plan = make_plan(net, tuple(model.parameters), x)
    (functions,) = {site.layer for found in plan.sites.values() for site in found if isinstance(site.layer, Functions)}
    assert functions.names == {name for name in model.parameters if name.startswith("attention")}
    plan = make_plan(network(lambda: nn.Sequential(nn.Linear(8, 3))), ("0.weight", "0.bias"), inputs(5, 8))
    assert not any(isinstance(site.layer, Functions) for found in plan.sites.values() for site in found)


def test_tokens_positions_and_scales_are_differentiated_in_closed_form(monkeypatch):
    net, x = network(VisionTransformer), inputs(5, 1, 4, 4)
    model = dntk.as_model(net)
    expected = jacobian(net, list(model.parameters), x)
    refuse_passes_per_input(monkeypatch)
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5
    assert kinds(model, x)["patch"] == "FactoredBlock"
    assert not make_plan(net, tuple(model.parameters), x).shielded  # no copies of everything for the token's sake


def test_parts_of_a_parameter_that_lie_apart_stay_exact():
    net, x = network(Slices), inputs(5, 4, 8)
    model = dntk.as_model(net)
    assert relative(assembled(model, x, torch.eye(3)), jacobian(net, ["weight"], x)) < 1e-5
    assert kinds(model, x)["weight"] == "DenseBlock"


class Sometimes(nn.Module):
    """Uses its weight in another way too, for large inputs only."""

    def __init__(self, use):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 3))
        self.use = use

    def forward(self, x):
        outputs = x @ self.weight
        return outputs + self.use(x, self.weight) if bool(x.abs().max() > 10) else outputs


@pytest.mark.parametrize(
    "use",
    [
        lambda x, w: torch.einsum("ni,io->no", x, w**2),
        lambda _x, w: functional.linear(w.T, w.T).diagonal(),  # as many rows as there are inputs
    ],
    ids=["unknown", "as-an-input"],
)
def test_a_use_that_the_probe_did_not_meet_stays_exact(use):
    net, x = network(lambda: Sometimes(use)), inputs(3, 8)
    model = dntk.as_model(net)
    assert kinds(model, x)["weight"] == "FactoredBlock"
    expected = looped_jacobian(net, ["weight"], 20 * x)
    assert relative(assembled(model, 20 * x, torch.eye(3)), expected) < 1e-5


class Scaled(nn.Module):
    """Forms of a known function whose gradients no rule has."""

    def __init__(self, use):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 3))
        self.bias = nn.Parameter(torch.randn(3))
        self.use = use

    def forward(self, x):
        return self.use(x, self.weight, self.bias)


@pytest.mark.parametrize(
    "use",
    [
        lambda x, w, b: torch.addmm(b, x, w, alpha=3),
        lambda x, w, b: torch.add(x @ w, b, alpha=2),
        lambda x, w, b: (w.T @ x.T).T + b,
        lambda x, w, b: x @ w.exp() + b.detach() * b,
        lambda x, w, b: x @ (w + w) + b.sum() * b,
        lambda x, w, b: torch.stack([x @ w[:, k] for k in range(3)], 1) + b,
        lambda x, w, b: (x @ w).add_(b).mul_(b),
        lambda x, w, b: torch.relu_(x @ w) + 2 * b,
        lambda x, w, b: torch.cat([w.expand(x.shape[0], -1, -1).flatten(1), x], 1)[:, 3:6] * b + (x @ w),
        lambda x, w, b: torch.einsum("ni,nio->no", x, w.expand(x.shape[0], -1, -1)) + b,
        lambda x, w, b: x @ w.data + (x @ w) * b.to(torch.float32 if b.dtype == torch.float32 else torch.float64),
        lambda x, w, b: x[:, :1] * w[0] + b + (x[:, 1:2] @ w[1:2]),
    ],
)
def test_every_way_to_use_a_parameter_is_exact(use):
    net, x = network(lambda: Scaled(use)), inputs(5, 8)
    model = dntk.as_model(net)
    expected = looped_jacobian(net, list(model.parameters), x)
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5
    assert relative(assembled(model, x[:1], torch.eye(3)), expected[:, :1]) < 1e-5


def test_the_mode_of_the_adapter_does_not_outlive_a_failing_forward():
    def fail_when_observed(x, w, b):
        if any(isinstance(mode, Recorder) for mode in _get_current_function_mode_stack()):
            raise RuntimeError
        return torch.einsum("ni,io->no", x, w) + b

    net, x = network(lambda: Scaled(fail_when_observed)), inputs(5, 8)
    model = dntk.as_model(net)
    expected = looped_jacobian(net, list(model.parameters), x)
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5
    assert not _get_current_function_mode_stack()
