"""What all experiments share: the images, the trained networks and the distilled data of a run, made once and kept."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk.backend import Backend
from dntk.features import TangentFeatures, tangent_features
from dntk.ledger import StageCost
from dntk_studies.networks import Progress, TrainedNetwork, Trainer, TrainingPlan
from dntk_studies.reproduce._sketches import sketch_of
from dntk_studies.reproduce.data_methods import METHODS, Distilled, Pool
from dntk_studies.reproduce.images import Images, load_images
from dntk_studies.reproduce.settings import DATA_METHOD, Settings
from dntk_studies.reproduce.units import Units


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workshop:
    """Settings, storage, framework and data of a run; ``kept`` is what stays in memory of images and networks."""

    settings: Settings
    units: Units
    backend: Backend
    trainer: Trainer
    directory: Path | None
    progress: Progress
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)

    def images(self, seed: int) -> Images:
        """The split of a seed."""
        return self._keep(f"images-{seed}", "images-", lambda: self._load(seed))

    def network(self, plan: TrainingPlan, seed: int, *, on_distilled: bool = False) -> TrainedNetwork:
        """Network trained on the seed's training points, or on the data distilled with that network."""
        name = tag(plan, seed) + ("-on-distilled" if on_distilled else "")
        return self._keep(f"network-{name}", "network-", lambda: self._train(name, plan, seed, on_distilled))

    def distilled(self, plan: TrainingPlan, seed: int, method: str = DATA_METHOD) -> Distilled:
        """Distilled data: ``per_class`` points of each class by one of the methods."""
        stored = self.units.arrays(f"data-{method}-{tag(plan, seed)}", lambda: self._distil(plan, seed, method))
        return Distilled(x=stored["x"], y=stored["y"], costs=unpacked_costs(stored["costs"]))

    def test_features(self, plan: TrainingPlan, seed: int) -> TangentFeatures:
        """Sketched features of the test points, kept in memory for all regressions that are compared on them."""

        def make() -> TangentFeatures:
            model, x = self.network(plan, seed).model, self.place(self.images(seed).test.x)
            self.progress(f"tangent features of test points, {tag(plan, seed)}")
            return tangent_features(model, x, sketch=sketch_of(self.settings, plan, seed))

        return self._keep(f"test-features-{tag(plan, seed)}", "test-features-", make)

    def place(self, x: Any) -> Any:
        """Array of the backend."""
        return self.backend.from_numpy(np.ascontiguousarray(x))

    def host(self, x: Any) -> npt.NDArray[Any]:
        """Array of NumPy."""
        return np.asarray(self.backend.to_numpy(x))

    def _keep(self, name: str, family: str, make: Callable[[], Any]) -> Any:
        """The value called ``name``; at most two of a family stay in memory."""
        if name not in self.kept:
            relatives = [key for key in self.kept if key.startswith(family)]
            for key in relatives[:-1]:
                del self.kept[key]
            self.kept[name] = make()
        return self.kept[name]

    def _load(self, seed: int) -> Images:
        self.progress(f"reading {self.settings.data}, seed {seed}")
        return load_images(self.settings, seed, self.directory)

    def _train(self, name: str, plan: TrainingPlan, seed: int, on_distilled: bool) -> TrainedNetwork:
        images = self.images(seed)
        x, y = images.train.x, images.train.y
        if on_distilled:
            distilled = self.distilled(plan, seed)
            x, y = distilled.x, distilled.y
            batch = min(plan.batch, max(10, len(y) // 8))
            plan = dataclasses.replace(plan, epochs=self.settings.distilled_epochs, batch=batch)
        folder = self.units.folder / "networks" / name
        return self.trainer.train(plan, x, y, classes=images.classes, seed=seed, folder=folder, progress=self.progress)

    def _distil(self, plan: TrainingPlan, seed: int, method: str) -> Mapping[str, npt.NDArray[Any]]:
        network, images = self.network(plan, seed), self.images(seed)
        self.progress(f"distilling data by {method}, {tag(plan, seed)}")
        pool = Pool(
            backend=self.backend,
            model=network.model,
            last_layer=network.last_layer,
            x=self.place(images.pool.x),
            y=self.place(images.pool.y),
            classes=images.classes,
            per_class=self.settings.per_class,
            seed=seed,
            steps=self.settings.pixel_steps,
            sketch=sketch_of(self.settings, plan, seed),
        )
        found = METHODS[method].distil(pool)
        return {"x": found.x, "y": found.y, "costs": packed_costs(found.costs)}


def tag(plan: TrainingPlan, seed: int) -> str:
    """Name of a network and a seed."""
    return f"{plan.architecture}-{seed}"


def packed_costs(costs: tuple[StageCost, ...]) -> npt.NDArray[np.uint8]:
    """Costs as bytes of JSON, to be stored beside arrays."""
    text = json.dumps([dataclasses.asdict(cost) for cost in costs])
    return np.frombuffer(text.encode(), dtype=np.uint8)


def unpacked_costs(packed: npt.NDArray[np.uint8]) -> tuple[StageCost, ...]:
    """The costs of :func:`packed_costs`."""
    return tuple(StageCost(**entry) for entry in json.loads(packed.tobytes().decode()))
