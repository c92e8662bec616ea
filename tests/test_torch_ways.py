"""Networks in which Python takes another way than for the first inputs: by their number, by their values, by a flag."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import dntk
from dntk.gradient_blocks import DenseBlock, FactoredBlock, IndexedBlock, TiedBlock
from dntk_torch import _blocks
from dntk_torch._confirming import summed
from tests.test_torch_model import assembled, relative
from tests.torch_networks import NETWORKS, batch, network, one_thread

LENGTH, WIDTH = 3, 5
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Two(nn.Module):
    """One of two ways from hidden units (n, LENGTH, WIDTH) on, chosen by ``taken``."""

    def __init__(self, way, taken):
        super().__init__()
        self.way, self.taken = way, taken
        self.first, self.layer, self.head = nn.Linear(4, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x):
        h = self.way(self, x) if self.taken(x) else self.layer(torch.tanh(self.first(x)))
        return self.head(torch.tanh(h).mean(1))


def by_halves(net, x):
    """The same numbers, half of them by a use of the weight that the layer does not see."""
    h = torch.tanh(net.first(x))
    return (net.layer(h) + functional.linear(h, net.layer.weight, net.layer.bias)) / 2


def positions_first(net, x):
    n = len(x)
    h = torch.tanh(net.first(x.transpose(0, 1).reshape(LENGTH * n, -1)))
    return net.layer(h).reshape(LENGTH, n, -1).transpose(0, 1)


def rolled(net, x):
    return net.layer(torch.tanh(net.first(x.roll(1, 0)))).roll(-1, 0)


def half_by_half(net, x):
    k = len(x) // 2
    h = net.layer(torch.tanh(net.first(torch.cat([x[k:], x[:k]]))))
    return torch.cat([h[len(x) - k :], h[: len(x) - k]])


SAME = [by_halves, positions_first, rolled, half_by_half]


def twice_the_bias(net, x):
    return net.layer(torch.tanh(net.first(x))) + net.layer.bias


def overwritten(net, x):
    h = net.layer(torch.tanh(net.first(x)))
    h[:, 0] = 2 * h[:, 0]
    return h


def scaled_by_the_weight(net, x):
    return net.layer(torch.tanh(net.first(x)) / net.layer.weight.norm())


def jacobian(net, x):
    """(C, n, P) in float64, of the whole batch, so that Python takes the same way."""
    exact = copy.deepcopy(net).double()
    rows = []
    for entry in exact(x.double()).T.flatten():
        found = torch.autograd.grad(entry, list(exact.parameters()), retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in found]))
    return torch.stack(rows).reshape(3, len(x), -1)


def assert_exact(model, net, x):
    expected = jacobian(net, x)
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5
    assert relative(assembled(model, x, torch.ones(1, 3)), expected.sum(0, keepdim=True)) < 1e-5


@pytest.mark.parametrize("way", SAME)
@pytest.mark.parametrize("more", [6, 40])
def test_more_inputs_may_go_another_way(way, more):
    for seed in range(2):
        torch.manual_seed(seed)
        net = Two(way, lambda x: len(x) > more).eval()
        model = dntk.as_model(net)
        for n in (4, more + 3, more + 3, 3, more + 6):
            assert_exact(model, net, torch.randn(n, LENGTH, 4))


@pytest.mark.parametrize("way", SAME)
@pytest.mark.parametrize("read", [lambda x: x.sum() > 50, lambda x: sum(x.flatten().tolist()) > 50])
def test_other_inputs_may_go_another_way(way, read):
    for seed in range(2):
        torch.manual_seed(seed)
        net = Two(way, read).eval()
        model = dntk.as_model(net)
        for n, far in ((5, 0), (9, 1), (9, 1), (5, 0), (4, 2)):
            assert_exact(model, net, torch.randn(n, LENGTH, 4) + far * 3)


@pytest.mark.parametrize("way", [*SAME, twice_the_bias, overwritten, scaled_by_the_weight])
def test_a_flag_may_change_the_way_between_calls(way):
    for seed in range(2):
        torch.manual_seed(seed)
        flag = []
        net = Two(way, lambda _x: bool(flag)).eval()  # noqa: B023
        model = dntk.as_model(net)
        for n, up in ((5, False), (8, True), (8, True), (3, True), (8, False), (1, True)):
            flag[:] = [1] * up
            assert_exact(model, net, torch.randn(n, LENGTH, 4))


class Permuted(Two):
    """Where nothing but the order of axes differs from way to way."""

    def forward(self, x):
        axes = (1, 0, 2) if self.taken(x) else (0, 1, 2)
        turned = x.permute(axes)
        h = self.layer(torch.tanh(self.first(turned.reshape(-1, 4)))).reshape(*turned.shape[:2], -1)
        return self.head(torch.tanh(h.permute(axes)).mean(1))


def test_ways_differ_by_axes_alone():
    torch.manual_seed(0)
    net = Permuted(None, lambda x: len(x) > 6).eval()
    model = dntk.as_model(net)
    for n in (5, 8, 9, 4):
        assert_exact(model, net, torch.randn(n, LENGTH, 4))


@pytest.fixture
def compared(monkeypatch):
    """How often gradients were compared with autograd's."""
    made, sums = [], _blocks.Sums
    monkeypatch.setattr(_blocks, "Sums", lambda *given: made.append(1) or sums(*given))
    return made


def test_a_way_is_compared_once(compared):
    net = Two(positions_first, lambda x: len(x) > 6).eval()
    model = dntk.as_model(net)
    for n, times in ((5, 0), (4, 0), (8, 1), (8, 1), (9, 1), (5, 1)):
        assembled(model, torch.randn(n, LENGTH, 4), torch.eye(3))
        assert len(compared) == times


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_one_way_are_compared_no_further(name, compared):
    model, x = dntk.as_model(network(name)), batch(name)
    for n in (len(x), 3, 2):
        list(model.gradient_blocks(x[:n], torch.ones(1, model(x[:n]).shape[1])))
    assert not compared


def test_a_mode_that_is_an_attribute_is_another_network():
    class Moded(nn.Module):
        def __init__(self):
            super().__init__()
            self.mode, self.layer = "plain", nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x - x.mean(0) if self.mode == "centred" else x)

    model, x = dntk.as_model(Moded().eval()), torch.randn(6, 4)
    model(x)
    model.module.mode = "centred"
    with pytest.raises(ValueError, match="depends on the rest of the batch"):
        model(x)


class Flattened(nn.Module):
    """Positions before inputs, joined, and a gate for every position."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.head = nn.Linear(4, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x, gates):
        n, length = gates.shape
        h = self.norm(self.layer(x.transpose(0, 1).reshape(length * n, -1))).reshape(length, n, -1)
        return self.head((torch.tanh(h) * gates.T[:, :, None]).sum(0))


@pytest.mark.parametrize("first", ["one row", "one input", "inputs that are the same", "blank inputs"])
def test_layouts_are_believed_only_where_rows_tell_them(first):
    for seed in range(3):
        torch.manual_seed(seed)
        net = Flattened().eval()
        model, gates = dntk.as_model(net), torch.zeros(4 + seed, LENGTH)
        gates[0, : LENGTH if first == "one input" else 1] = 1
        x = torch.randn(len(gates), LENGTH, 4)
        if "inputs" in first and first != "one input":
            gates[:], x = 1, (x[:1, :1] if "same" in first else torch.zeros(1, 1, 4)).expand_as(x).contiguous()
        for points in ({"x": x, "gates": gates}, *others(seed)):
            whole = {name: part.double() for name, part in points.items()}
            exact = copy.deepcopy(net).double()
            rows = [
                torch.cat([g.flatten() for g in torch.autograd.grad(out, list(exact.parameters()), retain_graph=True)])
                for out in exact(**whole).flatten()
            ]
            expected = torch.stack(rows) @ torch.stack(rows).T
            n = len(points["x"])
            expected = expected.reshape(n, 3, n, 3).diagonal(dim1=1, dim2=3).mean(2)
            assert relative(dntk.ntk(model, points), expected) < 1e-5


def others(seed):
    generator = torch.Generator().manual_seed(seed)
    for n in (5, 3, 8):
        gates = (torch.rand(n, LENGTH, generator=generator) < 0.6).float()
        yield {"x": torch.randn(n, LENGTH, 4, generator=generator), "gates": gates}


def test_sums_of_blocks_are_those_of_expanded_gradients():
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator)

    table = IndexedBlock(
        name="w",
        offset=0,
        ids=torch.randint(-1, 6, (4, 3), generator=generator),
        cotangents=drawn(2, 4, 3, 5),
        rows=6,
    )
    linear = FactoredBlock(name="w", offset=0, inputs=drawn(4, 3, 5), cotangents=drawn(2, 4, 3, 6))
    turned = FactoredBlock(name="w", offset=0, inputs=drawn(4, 3, 5), cotangents=drawn(2, 4, 3, 6), transposed=True)
    stored = DenseBlock(name="w", offset=0, values=drawn(2, 4, 7))
    weights = drawn(2, 4)
    for block in (table, linear, turned, stored, TiedBlock(name="w", offset=0, table=table, linear=linear)):
        expected = torch.einsum("qn,qnp->p", weights, block.dense())
        torch.testing.assert_close(summed(block, weights), expected, rtol=1e-5, atol=1e-5)
