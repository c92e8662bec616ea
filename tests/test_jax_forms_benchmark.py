from pathlib import Path

import pytest

pytest.importorskip("jax")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import jax_forms

    return jax_forms


@pytest.mark.parametrize("name", ["perceptron", "convolutional", "attention"])
def test_kernels_of_both_ways_agree(benchmark, name):
    found = benchmark.measured(getattr(benchmark, name)(8), points=3, repeats=1)
    assert found["error"] < 1e-5
    assert min(found["forms"], found["dntk"], found["jacrev"]) > 0


def test_a_kernel_that_is_wrong_is_seen(benchmark, monkeypatch):
    right = benchmark.dntk.ntk
    monkeypatch.setattr(benchmark.dntk, "ntk", lambda model, x: 1.001 * right(model, x))
    assert benchmark.measured(benchmark.perceptron(8), points=3, repeats=1)["error"] > 5e-4
