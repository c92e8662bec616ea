"""What the studies ask of a framework: networks trained as a plan says."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int

from dntk.models.base import Model
from dntk.types import Array

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A network and how it is trained.

    Parameters
    ----------
    architecture
        One of :meth:`Trainer.architectures`.
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
class Trainer(Protocol):
    """Builds and trains networks in some framework."""

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
