"""Batches by what is free, and smaller ones where that does not suffice."""

import logging
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import dntk
from dntk._progress import task
from dntk.backend import MemoryBackend, backend_of, free_memory, is_out_of_memory
from dntk.models import batching
from dntk.models._halved import in_batches
from tests.libraries import LIBRARIES
from tests.networks import mlp


def run(code):
    """What a process prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def test_free_memory_is_known_of_every_device(library):
    x = library.array(np.ones(3), np.float32)
    free = free_memory(x)
    assert free is None or 2**20 < free < 2**48


def test_free_memory_is_what_the_limit_of_the_process_leaves():
    out, _ = run("""
        import resource
        import numpy as np
        from dntk.backend import free_memory
        free_memory(np.ones(1))
        used = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmSize"))
        resource.setrlimit(resource.RLIMIT_AS, (1024 * used + 2**28, resource.RLIM_INFINITY))
        print(free_memory(np.ones(1)))
    """)
    assert 2**27 < int(out) <= 2**28


def test_blocks_take_a_quarter_of_what_is_free_and_no_more_than_the_constant(monkeypatch):
    model = dntk.as_model(mlp(LIBRARIES[0]))
    for free, expected in ((None, 2**31), (2**33, 2**31), (2**33 - 4, 2**30), (4000, 512), (4096, 1024), (1, 1)):
        monkeypatch.setattr(batching, "free_memory", lambda _, free=free: free)
        assert batching.default_bytes(model, 2**31) == expected


def test_batches_that_do_not_fit_are_halved_and_the_rest_with_them(caplog):
    sizes = []

    def work(start, stop):
        sizes.append(stop - start)
        if stop - start > 3:
            raise MemoryError
        return (start, stop)

    with task("test", total=11) as bar, caplog.at_level(logging.WARNING, "dntk"):
        assert in_batches(11, 8, work, bar) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 11)]
        assert bar.done == 11
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "8 inputs at once do not fit the memory: going on with 4.",
        "4 inputs at once do not fit the memory: going on with 2.",
    ]


def test_other_errors_pass_and_one_input_that_does_not_fit_is_said():
    def failing(error):
        def work(start, stop):
            calls.append((start, stop))
            raise error

        return work

    calls = []
    with task("test") as bar, pytest.raises(ValueError, match="other"):
        in_batches(4, 4, failing(ValueError("other")), bar)
    assert calls == [(0, 4)]
    with task("test") as bar, pytest.raises(MemoryError) as caught:
        in_batches(4, 4, failing(MemoryError()), bar)
    assert "One input alone does not fit" in caught.value.__notes__[0]


def test_every_library_says_that_its_memory_is_short():
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("something else"))
    with pytest.raises(MemoryError) as caught:
        np.ones(2**45)
    assert is_out_of_memory(caught.value)


def test_pytorch_says_that_its_memory_is_short():
    torch = pytest.importorskip("torch")
    assert isinstance(backend_of(torch.ones(1)), MemoryBackend)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_jax_says_that_its_memory_is_short():
    jax = pytest.importorskip("jax")
    assert isinstance(backend_of(jax.numpy.ones(1)), MemoryBackend)
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(jax.numpy.zeros((2**22, 2**22), dtype="float32"))
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(jax.errors.JaxRuntimeError("INTERNAL: something else"))


def test_a_diagonal_under_a_limit_of_the_process_is_that_without():
    """A real limit of 96 MiB, of which the cotangents of all 4,000 inputs at once would take 164 MB."""
    out, err = run("""
        import logging, resource
        import numpy as np
        import dntk
        logging.basicConfig(format="%(message)s")
        rng = np.random.default_rng(0)
        weights = [rng.normal(size=s) / 16 for s in ((512, 64), (10, 512))]
        model = dntk.MLP(weights=tuple(weights), biases=(np.zeros(512), np.zeros(10)))
        x = rng.normal(size=(4000, 64))
        expected = dntk.NTKOperator(model, x, batch_size=250).diagonal()
        operator = dntk.NTKOperator(model, x, batch_size=4000)
        used = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmSize"))
        resource.setrlimit(resource.RLIMIT_AS, (1024 * used + 96 * 2**20, resource.RLIM_INFINITY))
        print(np.max(np.abs(operator.diagonal() / expected - 1)))
    """)
    assert "4000 inputs at once do not fit the memory: going on with 2000." in err
    # Sums of fewer than 40,000 squares in float64, in another order.
    assert float(out) <= 40_000 * 2**-52


def test_features_and_predictions_go_on_where_a_network_runs_out_of_memory(caplog):
    torch = pytest.importorskip("torch")

    class Card(torch.nn.Module):
        """Room for so many inputs."""

        room = 100

        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))

        def forward(self, x):
            if x.shape[0] > Card.room:
                msg = "CUDA out of memory. Tried to allocate 2.00 GiB."
                raise torch.OutOfMemoryError(msg)
            return self.body(x)

    torch.manual_seed(0)
    model, x = dntk.as_model(Card().eval().double()), torch.randn(40, 5, dtype=torch.float64)
    fit = dntk.DistilledNTK(model, data=None, sketch=None, gradients=None).fit(x)
    features, predicted = dntk.tangent_features(model, x, sketch=None).values, fit.predict(x)
    operator = dntk.NTKOperator(model, x)
    norms = operator.diagonal()
    Card.room = 7
    with caplog.at_level(logging.WARNING, "dntk"):
        torch.testing.assert_close(
            dntk.tangent_features(model, x, sketch=None).values, features, rtol=1e-12, atol=1e-14
        )
        torch.testing.assert_close(fit.predict(x), predicted, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(operator.diagonal(), norms, rtol=1e-12, atol=1e-14)
    assert "going on with 5" in caplog.text
