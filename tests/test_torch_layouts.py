"""Layers that treat the batch axis alone, given several rows for every input."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import dntk
from tests.test_torch_functions import inputs, network, refuse_passes_per_input
from tests.test_torch_model import assembled, kinds, looped_jacobian, relative
from tests.torch_networks import one_thread


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def unequal(norm):
    """A batch norm with statistics and parameters that differ from the initial ones."""
    with torch.no_grad():
        for value in (norm.running_mean, norm.weight, norm.bias):
            value.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


class Tokens(nn.Module):
    """Batch norm of tokens, as LeViT has it."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(8, 6), unequal(nn.BatchNorm1d(6)), nn.Linear(6, 3)

    def forward(self, x):
        hidden = self.norm(self.first(x).flatten(0, 1)).reshape(*x.shape[:2], 6)
        return self.head(torch.tanh(hidden).mean(1))


class Frames(nn.Module):
    """Convolutions, norms and slopes of every frame of a film, whose frames come first where ``second``."""

    def __init__(self, second):
        super().__init__()
        self.second = second
        self.layers = nn.Sequential(
            nn.Conv1d(1, 6, 3),
            unequal(nn.BatchNorm1d(6)),
            nn.PReLU(6),
            nn.Conv1d(6, 4, 2, groups=2),
            nn.GroupNorm(2, 4),
        )
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        n, t = x.shape[:2]
        frames = x.transpose(0, 1) if self.second else x
        found = torch.tanh(self.layers(frames.reshape(n * t, 1, -1))).mean(2)
        found = found.reshape(t, n, 4).transpose(0, 1) if self.second else found.reshape(n, t, 4)
        return self.head(found.cumsum(1).pow(2).sum(1))


class Bags(nn.Module):
    """Several bags of words for every input."""

    def __init__(self):
        super().__init__()
        self.bags, self.head = nn.EmbeddingBag(9, 6), nn.Linear(6, 3)

    def forward(self, x):
        ids = (x.abs() * 5).long().clamp(max=8)
        return self.head(torch.tanh(self.bags(ids.flatten(0, 1)).reshape(*x.shape[:2], 6)).sum(1))


class BatchNormFunction(nn.Module):
    """Batch norm and a scale with a shift, both as functions."""

    def __init__(self):
        super().__init__()
        self.norm = unequal(nn.BatchNorm1d(4))
        self.scale, self.shift = nn.Parameter(torch.randn(1, 8)), nn.Parameter(torch.randn(1, 1, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        norm = self.norm
        x = functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, norm.eps)
        return self.head(torch.tanh(x + torch.addcmul(self.shift, self.scale, x.pow(2))).mean(1))


CASES = {
    "tokens": (Tokens, {"norm.weight": "DenseBlock", "first.weight": "FactoredBlock"}),
    "frames": (lambda: Frames(False), {"layers.0.weight": "FactoredBlock", "layers.3.weight": "DenseBlock"}),
    "frames-first": (lambda: Frames(True), {"layers.0.weight": "FactoredBlock", "layers.2.weight": "DenseBlock"}),
    "bags": (Bags, {"bags.weight": "IndexedBlock"}),
    "functions": (BatchNormFunction, {"norm.weight": "DenseBlock", "scale": "DenseBlock", "shift": "DenseBlock"}),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_of_one_input_add_up_in_closed_form(name, monkeypatch):
    make, forms = CASES[name]
    net, x = network(make).double(), inputs(5, 4, 8).double()
    expected = looped_jacobian(net, [name for name, _ in net.named_parameters()], x)
    refuse_passes_per_input(monkeypatch)
    model = dntk.as_model(net)
    assert relative(assembled(model, x, torch.eye(3, dtype=x.dtype)), expected) < 1e-13
    found = kinds(model, x)
    assert {key: found[key] for key in forms} == forms
    assert relative(assembled(model, x[:1], torch.eye(3, dtype=x.dtype)), expected[:, :1]) < 1e-13
