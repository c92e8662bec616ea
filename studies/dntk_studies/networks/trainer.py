"""The networks of the studies, trained by PyTorch."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from dntk_studies.networks.networks import ARCHITECTURES, LAST_LAYER
from dntk_studies.networks.plan import Progress, TrainedNetwork, TrainingPlan
from dntk_studies.networks.training import build, train
from dntk_torch.model import TorchModel


@dataclasses.dataclass(frozen=True)
class TorchTrainer:
    """MLP, CNN, ResNet-18 and a small vision transformer, trained on the CPU."""

    def architectures(self) -> tuple[str, ...]:
        """Names of the networks."""
        return tuple(ARCHITECTURES)

    def parameters(self, plan: TrainingPlan, image: tuple[int, int, int], classes: int) -> int:
        """Number of parameters of a network."""
        return sum(value.numel() for value in build(plan, image, classes, 0).parameters())

    def train(
        self,
        plan: TrainingPlan,
        x: Any,
        y: Any,
        *,
        classes: int,
        seed: int,
        folder: Path,
        progress: Progress,
    ) -> TrainedNetwork:
        """Network after the plan's epochs, resumed from what ``folder`` holds.

        Raises
        ------
        ValueError
            The checkpoint in ``folder`` is damaged.
        """
        done = train(plan, torch.from_numpy(x), torch.from_numpy(y), classes, seed, folder, progress)
        model = TorchModel.of(done.module.to(memory_format=torch.contiguous_format))
        return TrainedNetwork(model=model, last_layer=LAST_LAYER, seconds=done.seconds, precision=done.precision)
