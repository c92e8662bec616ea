"""What the reproduction asks of a framework: networks trained by a stated recipe.

:mod:`dntk` knows no framework, and training needs one. A backend that can train says so in its registry entry
(:attr:`dntk.backend.BackendEntry.recipes`), so that the command finds recipes as it finds backends.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int

from dntk.backend import Backend, entries, get_backend
from dntk.model import Model
from dntk.types import Array

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A network and how it is trained.

    Parameters
    ----------
    architecture
        One of :meth:`Recipes.architectures`.
    width
        Channels of the first stage of a residual network or CNN, units of a hidden layer, or token width.
    epochs, batch
        Passes over the training points, and points a step.
    rate, decay
        Largest learning rate of the one-cycle schedule, and weight decay.
    flip, shift
        Augmentation: random horizontal flips, and random translations by up to ``shift`` pixels.
    """

    architecture: str
    width: int
    epochs: int
    batch: int = 128
    rate: float = 0.1
    decay: float = 5e-4
    flip: bool = False
    shift: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network as a model.

    ``last_layer`` matches the names of its last layer's parameters; ``seconds`` is the training time, summed over
    interruptions; ``precision`` the arithmetic it was trained in.
    """

    model: Model
    last_layer: str
    seconds: float
    precision: str


@runtime_checkable
class Recipes(Protocol):
    """Networks that a framework can build and train."""

    def architectures(self) -> tuple[str, ...]:
        """Names of the networks."""

    def parameters(self, plan: TrainingPlan, image: tuple[int, int, int], classes: int) -> int:
        """Number of parameters of a network for images (channels, height, width)."""

    def train(
        self,
        plan: TrainingPlan,
        x: Float[Array, "n c h w"],
        y: Int[Array, " n"],
        *,
        classes: int,
        seed: int,
        folder: Path,
        progress: Progress,
    ) -> TrainedNetwork:
        """Network trained on NumPy arrays; what ``folder`` holds of it already is not done again."""


def find_recipes() -> tuple[Backend, Recipes]:
    """The first installed backend that can train, and its recipes.

    Raises
    ------
    ImportError
        None can: the message says what to install.
    """
    able: dict[str, Any] = {name: entry for name, entry in entries().items() if entry.recipes is not None}
    for name, entry in able.items():
        if not entry.missing():
            return get_backend(name), entry.recipes()
    remedy = "; or ".join(entry.install for entry in able.values()) or 'pip install "dntk[torch]"'
    msg = f"training networks needs a framework that is not installed: {remedy}"
    raise ImportError(msg)
