"""An installed wheel, used: on NumPy, and on PyTorch and JAX where they are there; ends with an error if not right."""

import importlib.util
import pathlib
import tempfile

import numpy as np

import dntk

rng = np.random.default_rng(0)
weights = tuple(rng.normal(size=size) / size[1] ** 0.5 for size in ((32, 6), (3, 32)))
x, query = rng.normal(size=(60, 6)), rng.normal(size=(20, 6))
model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
kernel = dntk.ntk(model, x)
spec = dntk.DistilledNTK(model, dntk.distill.data.RPCholesky(30), gradients=dntk.distill.gradients.Solution(8))
fit = spec.fit(x)
assert fit.fidelity(query) > 0.7, fit
assert 0 <= float(fit.certificate.trace_error) <= fit.certificate.trace
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder)
    fit.save(path / "fit")
    assert np.array_equal(dntk.load(path / "fit").predict(query), fit.predict(query))
    fit.report(path / "report.html", x=query, points=x)
    assert (path / "report.html").stat().st_size > 10_000
dntk.DistilledNTKClassifier(random_state=0).fit(x, np.arange(60) % 3).predict(query)
told = ["numpy"]
if importlib.util.find_spec("torch"):
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(6, 32, bias=False), torch.nn.Tanh(), torch.nn.Linear(32, 3, bias=False))
    with torch.no_grad():
        for layer, values in zip((net[0], net[2]), weights, strict=True):
            layer.weight.copy_(torch.tensor(values))
    found = dntk.ntk(dntk.as_model(net.double().eval()), torch.tensor(x)).numpy()
    largest = np.abs(kernel).max()
    np.testing.assert_allclose(found, kernel, atol=1e-5 * largest)  # weights went through float32
    bridged = dntk.ntk(dntk.bridge(model, "torch"), torch.tensor(x)).numpy()
    np.testing.assert_allclose(bridged, kernel, atol=1e-12 * largest)
    told.append("torch")
if importlib.util.find_spec("jax"):
    import jax.numpy as jnp

    def network(parameters, inputs):
        """Two layers."""
        return jnp.tanh(inputs @ parameters[0].T) @ parameters[1].T

    jax_model = dntk.as_model(network, [jnp.asarray(w, jnp.float32) for w in weights])
    np.testing.assert_allclose(
        np.asarray(dntk.ntk(jax_model, jnp.asarray(x, jnp.float32))), kernel, rtol=1e-4, atol=1e-4
    )
    told.append("jax")
print("works on " + ", ".join(told))
