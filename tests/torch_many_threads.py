"""Eight threads, two hundred calls each, on one model of every kind, against one thread.

Run it by hand: ``python -m tests.torch_many_threads [CALLS]``. Ends with 1 if a number differed or a
network was changed.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

import dntk
from tests.torch_networks import batch, network
from tests.torch_untouched import portrait

THREADS = 8
NAMES = ("residual", "transformer-batch-first", "causal-attention", "recurrent", "spectral-norm", "untransformable")
SKETCH = dntk.sketch.Gaussian(dim=32, seed=0)


def found(model, x):
    """Features, kernel and outputs."""
    torch.set_num_threads(1)  # which PyTorch keeps by thread
    kernel = dntk.ntk(model, x)
    return [np.asarray(array) for array in (model(x), kernel, dntk.tangent_features(model, x, sketch=SKETCH).values)]


def different(model, x, calls, net=None):
    """Calls that differ from a first one, and calls of the network itself in a thread beside them that do."""
    expected, done = found(model, x), threading.Event()

    def beside():
        torch.set_num_threads(1)
        wrong = 0
        with torch.no_grad():
            plain = net(x.clone())
            while not done.is_set():
                wrong += not torch.equal(net(x.clone()), plain)
        return wrong

    def one(_):
        return not all(np.array_equal(a, b) for a, b in zip(found(model, x), expected, strict=True))

    with ThreadPoolExecutor(THREADS + 1) as pool:
        user = pool.submit(beside) if net is not None else None
        wrong = sum(pool.map(one, range(THREADS * calls)))
        done.set()
        return wrong + (user.result() if user else 0)


def main(calls):
    """Numbers that differed and networks that were changed."""
    sys.setswitchinterval(1e-5)
    bad = 0
    for name in NAMES:
        net, x = network(name), batch(name)
        before = portrait(net)
        wrong, changed = different(dntk.as_model(net), x, calls, net), portrait(net) != before
        print(f"torch {name}: {THREADS} x {calls} calls, {wrong} differ, changed: {changed}", flush=True)
        bad += wrong + changed
    for library, model, x in others():
        wrong = different(model, x, calls)
        print(f"{library}: {THREADS} x {calls} calls, {wrong} differ", flush=True)
        bad += wrong
    return bad


def others():
    """A network of NumPy and one of JAX."""
    import jax

    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype("float32") for shape in ((5, 7), (7, 3))]
    x = rng.standard_normal((6, 5)).astype("float32")
    yield "numpy", dntk.MLP(weights=tuple(w.T for w in weights), biases=(None, None)), x
    params = {str(i): jax.numpy.asarray(w) for i, w in enumerate(weights)}
    yield "jax", dntk.as_model(lambda p, x: jax.numpy.tanh(x @ p["0"]) @ p["1"], params), jax.numpy.asarray(x)


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)))
