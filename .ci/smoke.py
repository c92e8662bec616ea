"""Smoke test of an installed wheel where neither PyTorch nor JAX is installed."""

import importlib.util
import sys

import dntk

for framework in ("torch", "jax"):
    assert importlib.util.find_spec(framework) is None, f"{framework} is there: nothing is proved"
    assert framework not in sys.modules
    status = dntk.backends()[framework]
    assert not status.available
    assert f'pip install "dntk[{framework}]"' in status.why_not, status.why_not
assert dntk.backends()["numpy"].available

import numpy as np  # noqa: E402

generator = np.random.default_rng(0)
net = dntk.MLP(
    weights=(generator.normal(size=(16, 4)), generator.normal(size=(3, 16))),
    biases=(np.zeros(16), np.zeros(3)),
)
x = generator.normal(size=(40, 4))
fit = dntk.DistilledNTK(net, gradients=dntk.distill.gradients.Solution(3)).fit(x)
assert fit.predict(x).shape == (40, 3)
fidelity = fit.fidelity(x)
print(f"dntk {dntk.__version__} works without PyTorch and JAX; fidelity {fidelity:.2f}")
