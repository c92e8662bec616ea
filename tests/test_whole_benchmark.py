"""The exact route beside the whole: both ways make the same kernels, and costs grow by their orders."""

import importlib
from pathlib import Path

import pytest

import dntk

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("whole_exact")


def test_both_ways_of_the_exact_route_make_the_same_regression(script):
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3))
    model, x = dntk.as_model(net.eval()), torch.randn(40, 3, 6, 6)
    one, other = (way(model, x) for way in script.WAYS.values())
    assert one.shape == (3, 40, 40)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))
    y = model(x)
    dual = script.solved(one, y)
    back = torch.einsum("cnm,mc->nc", one.double(), dual) + script.RIDGE * dual
    torch.testing.assert_close(back, y.double(), rtol=1e-6, atol=1e-6)


def test_costs_are_extrapolated_by_their_orders(script):
    rows = [{"points": n, "kernel": 3e-3 * n + 2e-5 * n**2, "solve": 1e-8 * n**2 + 1e-10 * n**3} for n in (32, 64, 128)]
    line = script.extrapolated(rows, 10_000, outputs=10)
    assert line["seconds"] == pytest.approx(30 + 2000 + 1 + 100, rel=1e-6)
    assert line["jacobian_rows"] == 100_000
    assert line["kernel_mib"] == pytest.approx(4e9 / 2**20)
