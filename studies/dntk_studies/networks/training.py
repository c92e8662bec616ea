"""Training by one recipe: one-cycle learning rate, cross entropy, flips and shifts; resumed after any epoch."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from dntk_studies.networks.checkpoint import read_checkpoint, write_checkpoint
from dntk_studies.networks.networks import ARCHITECTURES, Image
from dntk_studies.networks.plan import Progress, TrainingPlan

_WARM_UP = 0.25  # share of the steps in which the learning rate rises


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A network in evaluation mode, how long training took, and in which arithmetic."""

    module: Any
    seconds: float
    precision: str


def build(plan: TrainingPlan, image: Image, classes: int, seed: int) -> nn.Module:
    """The network with initial weights drawn from ``seed``; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[plan.architecture].build(image, classes, plan.width)


def train(
    plan: TrainingPlan, x: torch.Tensor, y: torch.Tensor, classes: int, seed: int, folder: Path, progress: Progress
) -> Trained:
    """Network after all epochs; an epoch's random numbers come from (seed, epoch), so that resuming changes nothing."""
    module: Any = build(plan, tuple(x.shape[1:]), classes, seed)
    module.scale_by(x)
    optimiser = ARCHITECTURES[plan.architecture].optimiser(module.parameters(), plan.rate, plan.decay)
    steps = plan.epochs * max(1, len(x) // plan.batch)
    precision = torch.bfloat16 if _trains_in_bfloat16(plan) else torch.float32
    first, seconds = _restore(module, optimiser, folder)
    for epoch in range(first, plan.epochs):
        progress(f"training {plan.architecture}, epoch {epoch + 1} of {plan.epochs}")
        start = time.perf_counter()
        _epoch(module, optimiser, plan, x, y, epoch=epoch, seed=seed, steps=steps, precision=precision)
        seconds += time.perf_counter() - start
        write_checkpoint(folder, _tensors(module, optimiser), {"epoch": epoch + 1, "seconds": seconds})
    return Trained(module=module.eval(), seconds=seconds, precision=str(precision).removeprefix("torch."))


def _epoch(
    module: Any,
    optimiser: Any,
    plan: TrainingPlan,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epoch: int,
    seed: int,
    steps: int,
    precision: torch.dtype,
) -> None:
    module.train()
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    order = torch.randperm(len(x), generator=generator)
    per_epoch = max(1, len(x) // plan.batch)
    # With few channels that come last PyTorch 2.13 wrote past its arrays on a processor without AVX-512.
    wide = plan.architecture == "resnet18" and plan.width >= 8
    layout = torch.channels_last if wide else torch.contiguous_format
    for step in range(per_epoch):
        chosen = order[step * plan.batch : (step + 1) * plan.batch]
        images = augmented(x[chosen], plan, generator)
        images = images.clone(memory_format=layout)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * one_cycle((epoch * per_epoch + step) / steps)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision is torch.bfloat16):
            outputs = module(images)
        functional.cross_entropy(outputs.float(), y[chosen]).backward()
        optimiser.step()


def one_cycle(done: float) -> float:
    """Share of the largest rate after a share ``done`` of the steps: a linear rise, then a linear fall to zero."""
    return done / _WARM_UP if done < _WARM_UP else (1 - done) / (1 - _WARM_UP)


def augmented(images: torch.Tensor, plan: TrainingPlan, generator: torch.Generator) -> torch.Tensor:
    """Images flipped with probability a half, and moved by up to ``shift`` pixels, black entering at the edges."""
    n, _, height, width = images.shape
    if plan.flip:
        chosen = torch.rand(n, generator=generator) < 0.5
        images = torch.where(chosen[:, None, None, None], images.flip(3), images)
    if plan.shift:
        s = plan.shift
        padded = functional.pad(images, (s, s, s, s))
        down = torch.randint(2 * s + 1, (n, 1), generator=generator) + torch.arange(height)
        right = torch.randint(2 * s + 1, (n, 1), generator=generator) + torch.arange(width)
        rows = torch.arange(n)[:, None, None]
        images = padded.permute(0, 2, 3, 1)[rows, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
    return images


def _restore(module: Any, optimiser: Any, folder: Path) -> tuple[int, float]:
    """Epochs done and seconds spent, with the network and the optimiser put where they were."""
    stored = read_checkpoint(folder)
    if stored is None:
        return 0, 0.0
    tensors, state = stored
    prefix = "network."
    module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, slot = name.split(".", 2)
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
    return int(state["epoch"]), float(state["seconds"])


def _tensors(module: Any, optimiser: Any) -> dict[str, torch.Tensor]:
    tensors = {f"network.{name}": value for name, value in module.state_dict().items()}
    for index, slots in optimiser.state_dict()["state"].items():
        for slot, value in slots.items():
            if value is not None:
                tensors[f"optimiser.{index}.{slot}"] = torch.as_tensor(value)
    return tensors


def _trains_in_bfloat16(plan: TrainingPlan) -> bool:
    """Residual networks where the processor multiplies bfloat16 itself: twice the speed, the same accuracy."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return plan.architecture == "resnet18" and supported is not None and bool(supported())
