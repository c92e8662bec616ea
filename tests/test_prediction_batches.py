"""Predictions of fits with a weight vector for each output: how many inputs at once, and to the same numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import dntk
from dntk.arrays import namespace
from dntk.backend import PairingBackend, backend_of, by_images, paired
from dntk.estimator import _prediction
from dntk.estimator.linear_weights import LinearWeights
from dntk_torch.model import TorchModel
from tests.libraries import host


@pytest.fixture
def net():
    """A convolution with many positions, and a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(192, 3)).eval()


@pytest.fixture
def batches_seen(monkeypatch):
    """Sizes of the batches of which gradients are made from now on."""
    sizes, of = [], TorchModel.gradient_blocks

    def watched(self, points, cotangents):
        if points.shape[0] > 2:  # no look at one or two
            sizes.append(points.shape[0])
        return of(self, points, cotangents)

    monkeypatch.setattr(TorchModel, "gradient_blocks", watched)
    return sizes


def allow(monkeypatch, size):
    """So many bytes for the factors of a layer."""
    entries = size / _prediction._WORKING_SETS / 4
    monkeypatch.setattr(_prediction, "backend_of", lambda _: SimpleNamespace(working_set=lambda _: int(entries)))


def along_weights(net, x, weights):
    """⟨w_c, ∇_θ f_c(x)⟩ by autograd, input by input, in float64."""
    net, parameters, rows = net.double(), list(net.parameters()), []
    for point in x.double().split(1):
        gradients = [torch.autograd.grad(output, parameters, retain_graph=True) for output in net(point)[0]]
        rows.append([torch.cat([g.flatten() for g in each]) @ w for each, w in zip(gradients, weights, strict=True)])
    return np.array(rows, dtype=float)


def test_predictions_are_right_in_batches_that_keep_a_layers_gradients_small(net, batches_seen, monkeypatch):
    x, model = torch.rand(37, 2, 8, 8), dntk.as_model(net)
    weights = torch.randn(3, model.n_parameters)
    allow(monkeypatch, 1024)
    found = _prediction.linear_outputs(model, x, LinearWeights(weights))
    assert batches_seen == [_prediction.FEWEST, 11, 10]
    expected = along_weights(net, x, weights.double())
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5 * np.max(np.abs(expected)))


def test_as_many_inputs_at_once_as_the_largest_layer_allows(net, batches_seen, monkeypatch):
    model = dntk.as_model(net)
    model(torch.rand(2, 2, 8, 8))
    patches = 64 * 18
    allow(monkeypatch, 4 * 20 * patches)
    _prediction.linear_outputs(model, torch.rand(66, 2, 8, 8), LinearWeights(torch.ones(3, model.n_parameters)))
    assert batches_seen == [_prediction.FEWEST, 17, 17, 16]


def test_as_many_inputs_as_memory_allows_where_no_layer_is_large(batches_seen, monkeypatch):
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(9)]
    model = dntk.as_model(nn.Sequential(*layers, nn.Linear(8, 2)).eval())
    model(torch.rand(2, 8))
    allow(monkeypatch, 8)
    _prediction.linear_outputs(model, torch.rand(66, 8), LinearWeights(torch.ones(2, model.n_parameters)))
    assert batches_seen == [_prediction.FEWEST, 66 - _prediction.FEWEST]


@pytest.mark.parametrize("last", [True, False], ids=["positions last", "coordinates last"])
@pytest.mark.parametrize("t", [1, 60])
def test_gradients_are_paired_with_matrices_in_whatever_order_they_lie(library, t, last):
    rng = np.random.default_rng(t)
    g, w, a = (rng.standard_normal(shape).astype("float32") for shape in ((4, 3, 5, t), (3, 5, 6), (4, t, 6)))
    xp, order = namespace(library.array(g)), (1, 0, 3, 2)
    cotangents = xp.permute_dims(library.array(g), order) if last else library.array(g.transpose(order).copy())
    sizes = np.einsum("iqbt,qba,ita->qi", *(np.abs(values.astype(float)) for values in (g, w, a)))
    for way in (paired, by_images):
        found = host(way(cotangents, library.array(w), library.array(a)))
        error = np.abs(found - np.einsum("iqbt,qba,ita->qi", *(values.astype(float) for values in (g, w, a))))
        assert np.all(error <= (5 * t + 10) * np.finfo(np.float32).eps * sizes)


def test_pytorch_has_a_way_of_its_own():
    assert isinstance(backend_of(torch.ones(1)), PairingBackend)
