"""What bad input is thrown at: networks, data and results of one library, and what is thrown."""

import dataclasses
import importlib
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dntk
from dntk.backend import backend_of

LIBRARIES = ("numpy", "torch", "jax", "array_api_strict")
N, D, C = 12, 5, 3


@dataclasses.dataclass(frozen=True)
class Bad:
    """A value that somebody passes; ``same`` is what it means where it means something."""

    name: str
    value: Any
    same: Any = None


@dataclasses.dataclass(frozen=True)
class Entry:
    """One argument of a public entry: ``call(scene, value)``."""

    name: str
    argument: str
    kind: str
    call: Callable[["Scene", Any], Any]
    accepts: tuple[str, ...] = ()
    """Names of bad values that this entry takes."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What came of a bad value."""

    library: str
    entry: str
    argument: str
    value: str
    outcome: str
    message: str


def pair_of(library: str) -> Any:
    """A model of two arrays, ``x`` and ``y``; ``None`` where the library has no functions."""
    weights = np.ones((D, C), np.float32)
    if library == "torch":
        import torch

        class Pair(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.w = torch.nn.Parameter(torch.as_tensor(weights))

            def forward(self, x: Any, y: Any) -> Any:
                return (x * y) @ self.w

        return dntk.as_model(Pair().eval())
    if library == "jax":
        weights = importlib.import_module("jax.numpy").asarray(weights)
    elif library != "numpy" or importlib.util.find_spec("autograd") is None:
        return None
    return dntk.as_model(lambda p, batch: (batch["x"] * batch["y"]) @ p["w"], {"w": weights})


class Scene:
    """A network, its data and what is made of them, in one library."""

    def __init__(self, library: str) -> None:
        self.library = library
        rng = np.random.default_rng(0)
        weights = [rng.normal(size=(7, D)) / 2, rng.normal(size=(C, 7)) / 2]
        self.net = self._network([w.astype(np.float32) for w in weights])
        self.model = dntk.as_model(*self.net)
        self.x = self.array(rng.normal(size=(N, D)).astype(np.float32))
        self.y = self.array(np.arange(N) % C)
        self.targets = self.array(rng.normal(size=(N, C)).astype(np.float32))
        self.phi = dntk.tangent_features(self.model, self.x, sketch=None)
        self.kernel = self.phi.kernel(outputs="each")
        self.mean = self.phi.kernel()
        self.grads = dntk.distill.gradients.Principal(4).distill(self.phi, self.targets)
        self.fit = dntk.DistilledNTK(self.model).fit(self.x)
        self.pair = pair_of(library)
        self.folder = tempfile.mkdtemp()
        self.saved = Path(self.folder) / "fit"
        self.fit.save(self.saved)

    def _network(self, weights: list[Any]) -> tuple[Any, ...]:
        if self.library == "torch":
            import torch

            net = torch.nn.Sequential(torch.nn.Linear(D, 7), torch.nn.Tanh(), torch.nn.Linear(7, C)).eval()
            with torch.no_grad():
                net[0].weight.copy_(torch.as_tensor(weights[0]))
                net[2].weight.copy_(torch.as_tensor(weights[1]))
            return (net,)
        if self.library == "jax":
            import jax.numpy as jnp

            params = {"first": jnp.asarray(weights[0]), "second": jnp.asarray(weights[1])}
            return (lambda p, x: jnp.tanh(x @ p["first"].T) @ p["second"].T, params)
        moved = tuple(self.array(w) for w in weights)
        return (dntk.MLP(weights=moved, biases=(None, None), activation="tanh"),)

    def array(self, host: Any) -> Any:
        """The array in this library."""
        host = np.asarray(host)
        if self.library == "numpy":
            return host
        if self.library == "torch":
            import torch

            return torch.as_tensor(host.copy())
        if self.library == "jax":
            import jax.numpy as jnp

            return jnp.asarray(host)
        import array_api_strict

        return array_api_strict.asarray(host)

    @property
    def host_x(self) -> Any:
        """The inputs in NumPy."""
        return np.array(backend_of(self.x).to_numpy(self.x))
