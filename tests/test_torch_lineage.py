"""Values made of parameters and constants alone, before they meet the inputs."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import dntk
from tests.test_torch_functions import inputs, network, refuse_passes_per_input
from tests.test_torch_model import assembled, kinds, looped_jacobian, relative
from tests.torch_networks import UntransformableSquare, one_thread

T, D, HEADS = 4, 8, 2


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Using(nn.Module):
    """Positions (n, 4, 8) with parameters of given shapes, used by a function of both."""

    def __init__(self, use, **shapes):
        super().__init__()
        self.use = use
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        self.register_buffer("places", torch.arange(T)[:, None] - torch.arange(T) + T - 1)
        self.first, self.head = nn.Linear(D, D), nn.Linear(D, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.use(self, self.first(x))).flatten(1, -2).mean(1))


def heads_of(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def joined(h):
    return h.transpose(1, 2).flatten(2)


def attended(net, x):
    """A table of biases by relative position, added to scores."""
    h = heads_of(x)
    bias = net.table[net.places.view(-1)].view(T, T, HEADS).permute(2, 0, 1).contiguous().unsqueeze(0)
    return joined(torch.softmax(h @ h.mT + bias, -1) @ h)


def in_windows(net, x):
    """The same in two windows per input that are joined to the batch, under a mask of theirs."""
    h = torch.stack([x, x.flip(1)], 1).flatten(0, 1)
    h = heads_of(h)
    bias = net.table[net.places.view(-1)].view(T, T, HEADS).permute(2, 0, 1)[None]
    mask = torch.zeros(2, 1, T, T, dtype=x.dtype)
    mask[1, :, 0, 1:] = -1.0
    mask = mask[None].expand(x.shape[0], -1, -1, -1, -1).reshape(-1, 1, T, T)
    mixed = functional.scaled_dot_product_attention(h, h, h, attn_mask=bias + mask)
    return joined(mixed).unflatten(0, (-1, 2)).flatten(1, 2)


def by_groups(net, x):
    """Grouped queries whose mask is learnt."""
    h = heads_of(x)
    return joined(
        functional.scaled_dot_product_attention(h, h[:, :1], h[:, :1], net.mask.exp(), scale=0.3, enable_gqa=True)
    )


def disentangled(net, x):
    """Keys of positions, by the projection that keys of tokens have, once for every input and head."""
    keys = heads_of(functional.linear(functional.layer_norm(net.table, (D,))[None], net.projection))[0]
    h = heads_of(functional.linear(x, net.projection)).flatten(0, 1)
    scores = h @ keys.repeat(x.shape[0], 1, 1).mT
    return joined((torch.softmax(scores[..., :T], -1) @ h).unflatten(0, (-1, HEADS)))


def standardised(net, x):
    weight = functional.batch_norm(
        net.kernel.reshape(1, D, -1), None, None, weight=(net.gain * 0.7).view(-1), training=True
    )
    return functional.conv1d(x.mT, weight.reshape_as(net.kernel), net.bias).mT


def repeated_convolution(net, x):
    """A convolution of fixed positions, repeated for every input."""
    waves = torch.sin(torch.arange(3 * T, dtype=x.dtype)).reshape(1, 3, T).repeat(1, 1, 1)
    return x + functional.conv1d(waves, net.kernel, net.bias).repeat(x.shape[0], 1, 1).mT


def overwritten(net, x):
    shift = net.scale * 2
    y = x + shift
    shift.mul_(3)
    return y * shift


def written(net, x):
    buffer = torch.zeros(D, dtype=x.dtype)
    buffer[2:6] = net.scale[:4].exp()
    return x * buffer


USES = {
    "relative-positions": (attended, {"table": (7, HEADS)}),
    "relative-positions-in-windows": (in_windows, {"table": (7, HEADS)}),
    "mask-of-grouped-queries": (by_groups, {"mask": (HEADS, T, T)}),
    "disentangled-attention": (disentangled, {"table": (5, D), "projection": (D, D)}),
    "standardised-weight": (standardised, {"kernel": (D, D, 1), "gain": (D, 1, 1), "bias": (D,)}),
    "convolution-of-positions": (repeated_convolution, {"kernel": (D, 3, 1), "bias": (D,)}),
    "looked-up-at-fixed-places": (
        lambda net, x: x + functional.embedding(torch.arange(T)[None], net.table),
        {"table": (6, D)},
    ),
    "looked-up-at-both": (
        lambda net, x: functional.embedding((x[:, :, 0] > 0).long(), net.table) + x * net.table[net.places[0]],
        {"table": (9, D)},
    ),
    "joined-biases": (
        lambda net, x: functional.linear(x, net.weight, torch.cat([net.q, torch.zeros(2, dtype=x.dtype), net.v])),
        {"weight": (D, D), "q": (3,), "v": (3,)},
    ),
    "one-plus": (lambda net, x: x.square() * (1.0 + net.scale), {"scale": (D,)}),
    "positions-per-input": (
        lambda net, x: x + (torch.ones(x.shape[0], 1, 1, dtype=x.dtype) * net.scale.tanh()),
        {"scale": (D,)},
    ),
    "in-place-sum": (lambda net, x: (x * 1).add_(net.scale.exp()), {"scale": (T, D)}),
    "apart-in-memory": (lambda net, x: x[..., :4] @ net.weight[:, ::2], {"weight": (4, 2 * D)}),
    "transposed": (lambda net, x: x @ net.weight.exp().mT + net.weight.sin()[0], {"weight": (D, D)}),
    "no-gradient": (lambda net, x: x * net.scale.detach() + net.scale.sign() * 0 * net.scale, {"scale": (D,)}),
}
OTHERS = {
    "overwritten": (overwritten, {"scale": (D,)}),
    "written-into-a-buffer": (written, {"scale": (D,)}),
    "out-of-sight": (
        lambda net, x: UntransformableSquare.apply(x) * net.scale + UntransformableSquare.apply(net.scale),
        {"scale": (D,)},
    ),
    "unknown-function": (lambda net, x: torch.einsum("nti,ij->ntj", x, net.weight.exp()), {"weight": (D, D)}),
    "mixed-over-inputs-of-a-constant": (lambda net, x: x + net.table[: x.shape[0]].exp()[:1], {"table": (40, D)}),
}


def checked(name, make, sizes=(5, 1, 2, 4)):
    """Gradients for several numbers of inputs, among them those of heads, windows and positions."""
    net, x = network(make).double(), inputs(5, T, D).double()
    expected = looped_jacobian(net, [name for name, _ in net.named_parameters()], x)
    model, eye = dntk.as_model(net), torch.eye(3, dtype=x.dtype)
    errors = [float(relative(assembled(model, x[:n], eye), expected[:, :n])) for n in sizes]
    assert max(errors) < 1e-13, (name, errors)
    return model, x


@pytest.mark.parametrize("name", USES)
def test_values_of_parameters_alone_are_differentiated_without_passes_per_input(name, monkeypatch):
    refuse_passes_per_input(monkeypatch)
    use, shapes = USES[name]
    checked(name, lambda: Using(use, **shapes))


@pytest.mark.parametrize("name", OTHERS)
def test_values_that_cannot_be_followed_stay_exact(name):
    use, shapes = OTHERS[name]
    checked(name, lambda: Using(use, **shapes))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("name", ["relative-positions-in-windows", "disentangled-attention"])
def test_batches_as_large_as_other_axes_stay_exact(name, n):
    use, shapes = USES[name]
    net, x = network(lambda: Using(use, **shapes)).double(), inputs(8, T, D).double()
    expected = looped_jacobian(net, [name for name, _ in net.named_parameters()], x)[:, :n]
    found = assembled(dntk.as_model(net), x[:n], torch.eye(3, dtype=x.dtype))  # the first that this model sees
    assert relative(found, expected) < 1e-13


PARAMETRISED = {
    "weight-norm": lambda layer: parametrizations.weight_norm(layer),
    "spectral-norm": lambda layer: parametrizations.spectral_norm(layer),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer, orthogonal_map="cayley"),
}


@pytest.mark.parametrize("name", PARAMETRISED)
def test_parametrised_weights_are_differentiated_without_passes_per_input(name, monkeypatch):
    def make():
        layers = [nn.Linear(D, D), nn.Tanh(), nn.Conv1d(T, T, 3), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)]
        return nn.Sequential(PARAMETRISED[name](layers[0]), layers[1], PARAMETRISED[name](layers[2]), *layers[3:])

    refuse_passes_per_input(monkeypatch)
    model, x = checked(name, make)
    assert "FactoredBlock" in kinds(model, x).values()
