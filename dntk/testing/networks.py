"""Random multilayer perceptrons with inputs to draw from."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dntk.models.mlp import MLP
from dntk.testing.allowances import gamma
from dntk.testing.place import Destination, Place
from dntk.testing.spectrum_cases import Host
from dntk.types import Array

WIDTHS = ((3, 2), (1, 1), (2, 4, 1), (3, 5, 4, 3))
POINTS = (1, 2, 5, 9)
ACTIVATIONS = ("relu", "tanh", "gelu", "identity")


@dataclasses.dataclass(frozen=True)
class Network:
    """Choices that make a perceptron and its inputs, some equal, some zero; built when asked for."""

    library: Destination
    widths: tuple[Any, ...]  # integers: checks of items draw from Python's generator, which Hypothesis forbids here
    points: int
    activation: str
    biases: bool
    dtype: str
    seed: int

    @functools.cached_property
    def parts(self) -> tuple[list[Host], list[Host | None], Host]:
        """Weights, biases and inputs on the host, in the dtype."""
        rng = np.random.default_rng(self.seed)
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        weights = [(rng.standard_normal((b, a)) / np.sqrt(a)).astype(self.dtype) for a, b in pairs]
        shifts = [rng.standard_normal(b).astype(self.dtype) if self.biases else None for _, b in pairs]
        x = rng.standard_normal((self.points, self.widths[0]))
        x *= 10.0 ** rng.uniform(-3, 2, (self.points, 1))
        if self.points > 2:
            x[1], x[2] = x[0], 0
        return weights, shifts, x.astype(self.dtype)

    @property
    def model(self) -> MLP:
        """The network at its place."""
        weights, shifts, _ = self.parts
        array = self.library.array
        return MLP(
            weights=tuple(array(w) for w in weights),
            biases=tuple(None if b is None else array(b) for b in shifts),
            activation=self.activation,
        )

    @property
    def x(self) -> Array:
        """Inputs at its place."""
        return self.library.array(self.parts[2])

    def gradient_error(self) -> tuple[Host, Host]:
        """Bounds, for every point, on the norm of any output's gradient and on its rounding.

        ‖φ‖ ≤ B = Σ_l (‖a_{l−1}‖ + 1) Π_{m>l} 1.2‖W_m‖_F with |σ'| ≤ 1.2. Every product rounds by γ of its length; a
        value h_l is known to γ·|h|_l, |h|_l ≤ ‖W_l‖_F ‖a_{l−1}‖ + ‖b_l‖, which moves σ' by at most 1.2 times as much.
        Holds for smooth activations; a rounding may cross the kink of relu.
        """
        weights, shifts, x = self.parts
        norms = [1.2 * max(1.0, float(np.linalg.norm(w.astype(np.float64)))) for w in weights]
        inside = np.linalg.norm(x.astype(np.float64), axis=1)
        total, heights = np.zeros_like(inside), np.zeros_like(inside)
        for layer, (norm, shift) in enumerate(zip(norms, shifts, strict=True)):
            total = total + (inside + 1) * float(np.prod(norms[layer + 1 :]))
            inside = norm * inside + (0 if shift is None else float(np.linalg.norm(shift)))
            heights = heights + inside
        steps = sum(self.widths) + 8 * len(self.widths)
        return total, gamma(steps, self.dtype) * total * (1 + 1.2 * heights) * len(self.widths)


def models(
    place: Destination | None = None,
    *,
    dtypes: Sequence[str] | None = None,
    widths: Sequence[tuple[int, ...]] = WIDTHS,
    points: Sequence[int] = POINTS,
    activations: Sequence[str] = ACTIVATIONS,
    biases: st.SearchStrategy[bool] | None = None,
) -> st.SearchStrategy[Network]:
    """Random perceptrons, ``network.model``, with inputs of magnitudes 1e-3 to 1e2, ``network.x``.

    Parameters
    ----------
    place
        Where the arrays go; default: NumPy.
    dtypes
        Names of dtypes, in place of all that the place has; needed where the place is not a
        :class:`dntk.testing.Place`.
    widths, points, activations
        Layers, numbers of inputs and activations to choose from.
    biases
        Whether layers have biases; default: drawn.
    """
    here: Any = place or Place.called("numpy")
    return st.builds(
        Network,
        st.just(here),
        st.sampled_from(tuple(widths)),
        st.sampled_from(tuple(points)),
        st.sampled_from(tuple(activations)),
        st.booleans() if biases is None else biases,
        st.sampled_from(tuple(here.dtypes if dtypes is None else dtypes)),
        st.integers(0, 2**32 - 1),
    )
