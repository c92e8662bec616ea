"""What networks learn from distilled sets: images that ``Wasserstein`` synthesised beside real ones.

A teacher, ResNet-18 of width 16, learns from all of CIFAR-10, by default scaled to 64 × 64 with the stem for
photographs. Sets of few images a class are taken from a pool of 10,000: at random, by RPCholesky on the last layer as
in ``dntk reproduce``, and synthesised by ``Wasserstein`` with its defaults. On each set learn fresh networks of other
initial weights: from its classes, and from the teacher's probabilities of every augmented image, as WMDD is published.

Printed for each: the accuracy of the network; that of regression with *its* tangent features on the set (Figure 1 of
the paper, "base model trained on distilled data"); and, for each set, what regression with the *teacher's* features on
it has of accuracy and of fidelity to the teacher.

Run: python benchmarks/train_on_distilled.py [--per-class 10 50] [--seeds 0] [--pixels 64] [--steps 2000]
     [--epochs 300] [--data-dir DIR] [--folder DIR]

Everything is kept in the folder: a run that was stopped goes on from there.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

import dntk
from dntk.backend import backend_of
from dntk.metrics import accuracy, fidelity
from dntk.sketch import Mixed
from dntk_studies import datasets
from dntk_studies.networks.plan import TrainingPlan
from dntk_studies.networks.training import augmented, build, one_cycle, train
from dntk_studies.reproduce.data_methods import METHODS, Pool

CLASSES = 10
BATCH = 50
TEACHER = TrainingPlan(architecture="resnet18", width=16, epochs=6, rate=0.2, flip=True, shift=4)
STUDENT = TrainingPlan(architecture="resnet18", width=16, epochs=300, batch=BATCH, rate=2e-3, flip=True, shift=4)
SETS = ("Random", "RPCholesky", "Wasserstein")
LABELS = ("classes", "teacher")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A teacher, the pool from which sets are taken, and images that no one has learnt from."""

    net: Any
    model: dntk.Model
    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    seed: int

    @property
    def sketch(self) -> Any:
        """Of all features."""
        return Mixed(2048, seed=self.seed)


def main() -> None:
    """Print a line for each set and network; rows are kept in the folder."""
    options = parsed()
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        scene = opened(options, seed)
        print(f"seed {seed}: teacher {agreed(scene.net, scene):.3f} on {len(scene.test_y)} images", flush=True)
        for per_class in options.per_class:
            for name in SETS:
                for row in rows(scene, name, per_class, options):
                    print(json.dumps(row), flush=True)


def rows(scene: Scene, name: str, per_class: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Of one set: what the teacher's kernel has on it, and what each fresh network has learnt."""
    steps = f"-{options.steps}-steps" if name == "Wasserstein" else ""
    tag = f"{options.pixels}-{scene.seed}-{name}-{per_class}{steps}"
    print(f"{name}, {per_class} a class", file=sys.stderr, flush=True)
    few = kept(options.folder / f"{tag}.npz", lambda: distilled(scene, name, per_class, options.steps))
    x, y = torch.from_numpy(few["x"]), torch.from_numpy(few["y"])
    shared = {"seed": scene.seed, "set": name, "points": len(x), "seconds": round(float(few["seconds"]), 1)}
    yield {**shared, **regressed(scene, scene.net, x, "teacher's kernel")}
    for labels in LABELS:
        path = options.folder / f"{tag}-{labels}-{options.epochs}-epochs.safetensors"
        start = time.perf_counter()
        net = student(scene, x, y, labels, options.epochs, path)
        took = round(time.perf_counter() - start, 1)
        own = regressed(scene, net, x, "own kernel")
        yield {**shared, "labels": labels, "trained": took, "accuracy": round(agreed(net, scene), 4), **own}


def opened(options: argparse.Namespace, seed: int) -> Scene:
    """The teacher is trained, or read from the folder."""
    found = datasets.cifar10(train=None, validation=300, seed=seed, directory=options.data_dir)
    x, y = scaled(found.train.x, options.pixels), torch.from_numpy(found.train.y)
    folder = options.folder / f"teacher-{options.pixels}-{seed}"
    net = train(TEACHER, x, y, CLASSES, seed, folder, lambda text: print(text, file=sys.stderr, flush=True)).module
    net = net.to(memory_format=torch.contiguous_format)
    test_x, test_y = (part[: options.tests] for part in (found.test.x, found.test.y))
    return Scene(
        net=net, model=dntk.as_model(net), x=x[:10_000].clone(), y=y[:10_000], seed=seed,
        test_x=scaled(test_x, options.pixels), test_y=torch.from_numpy(test_y),
    )  # fmt: skip


def scaled(x: np.ndarray, pixels: int) -> torch.Tensor:
    """Images of so many pixels a side, between those there are."""
    given = torch.from_numpy(np.ascontiguousarray(x))
    if given.shape[-1] == pixels:
        return given
    options: dict[str, Any] = {"size": (pixels, pixels), "mode": "bilinear", "align_corners": False}
    return torch.cat([functional.interpolate(part, **options) for part in given.split(1000)])


def distilled(scene: Scene, name: str, per_class: int, steps: int) -> dict[str, np.ndarray]:
    """A set, and the seconds that it took."""
    pool = Pool(
        backend=backend_of(scene.x), model=scene.model, last_layer=r"head\..*", x=scene.x, y=scene.y,
        classes=CLASSES, per_class=per_class, seed=scene.seed, steps=steps, sketch=scene.sketch,
    )  # fmt: skip
    start = time.perf_counter()
    found = METHODS[name].distil(pool)
    return {"x": found.x, "y": found.y, "seconds": np.asarray(time.perf_counter() - start)}


def student(scene: Scene, x: torch.Tensor, y: torch.Tensor, labels: str, epochs: int, path: Path) -> Any:
    """A fresh network that learns from a set, of classes or of what the teacher says of every augmented image."""
    net = build(STUDENT, tuple(x.shape[1:]), CLASSES, seed=1000 + scene.seed)
    net.scale_by(scene.x)
    if path.exists():
        net.load_state_dict(load_file(path))
        return net.eval()
    generator, steps = torch.Generator().manual_seed(scene.seed), epochs * -(-len(x) // BATCH)
    optimiser, step = torch.optim.AdamW(net.parameters(), lr=STUDENT.rate, weight_decay=1e-2), 0
    net.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(x), generator=generator).split(BATCH):
            images = augmented(x[chosen], STUDENT, generator)
            for group in optimiser.param_groups:
                group["lr"] = STUDENT.rate * one_cycle(step / steps)
            with torch.no_grad():
                goal = scene.net(images).softmax(1) if labels == "teacher" else y[chosen]
            optimiser.zero_grad()
            functional.cross_entropy(net(images), goal).backward()
            optimiser.step()
            step += 1
    save_file(net.state_dict(), path)
    return net.eval()


def regressed(scene: Scene, net: Any, x: torch.Tensor, name: str) -> dict[str, float]:
    """Regression on a set with a network's tangent features, of its own outputs there."""
    model = dntk.as_model(net)
    phi, test = (dntk.tangent_features(model, part, sketch=scene.sketch) for part in (x, scene.test_x))
    with torch.no_grad():
        fitted, there = dntk.solve.ridge(phi, model(x)), model(scene.test_x)
    predicted = fitted.predict(test)
    return {
        f"{name}, accuracy": round(accuracy(predicted, scene.test_y), 4),
        f"{name}, fidelity": round(fidelity(predicted, there), 4),
    }


def agreed(net: Any, scene: Scene) -> float:
    """Share of the test images whose class a network tells."""
    with torch.no_grad():
        outputs = torch.cat([net(part) for part in scene.test_x.split(250)])
    return accuracy(outputs, scene.test_y)


def kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of a file, made where there is none."""
    if not path.exists():
        part = path.with_suffix(".part.npz")
        np.savez(part, **make())
        part.rename(path)
    with np.load(path) as stored:
        return dict(stored)


def parsed() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000, help="of Wasserstein")
    parser.add_argument("--epochs", type=int, default=300, help="of the fresh networks")
    parser.add_argument("--tests", type=int, default=2000)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("train-on-distilled"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    main()
