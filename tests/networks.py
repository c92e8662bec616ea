"""Small networks and data for tests, made on the host and moved to a library."""

from typing import Any

import numpy as np

import dntk
from tests.libraries import Library


def mlp(
    library: Library, sizes: tuple[int, ...] = (6, 16, 3), *, activation: str = "tanh", seed: int = 0, dtype: Any = "f4"
) -> dntk.MLP:
    """A random network with outputs of order one."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) / a**0.5 for a, b in zip(sizes, sizes[1:], strict=False)]
    biases = [0.1 * rng.normal(size=b) for b in sizes[1:]]
    return dntk.MLP(
        weights=tuple(library.array(w, dtype) for w in weights),
        biases=tuple(library.array(b, dtype) for b in biases),
        activation=activation,
    )


def inputs(library: Library, n: int = 30, d: int = 6, *, seed: int = 1, dtype: Any = "f4") -> Any:
    """Random inputs."""
    return library.array(np.random.default_rng(seed).normal(size=(n, d)), dtype)


def features(
    library: Library, c: int = 3, n: int = 20, k: int = 40, *, seed: int = 2, decay: float = 0.8, dtype: Any = "f4"
) -> dntk.TangentFeatures:
    """Features whose singular values fall geometrically, other ones for every output."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(c):
        left, _ = np.linalg.qr(rng.normal(size=(n, min(n, k))))
        right, _ = np.linalg.qr(rng.normal(size=(k, min(n, k))))
        values.append(left * decay ** np.arange(min(n, k)) @ right.T)
    return dntk.TangentFeatures(library.array(np.stack(values), dtype))


def targets(library: Library, n: int = 20, c: int = 3, *, seed: int = 3, dtype: Any = "f4") -> Any:
    """Random regression targets."""
    return library.array(np.random.default_rng(seed).normal(size=(n, c)), dtype)
