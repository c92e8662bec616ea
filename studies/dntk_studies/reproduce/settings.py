"""What a run of the reproduction consists of: one frozen value, whose hash names everything that was computed."""

import dataclasses
import hashlib
import json
from typing import Any

from dntk_studies.networks import TrainingPlan

DATA = ("cifar10", "fashion-mnist", "digits", "imagenette", "imagewoof")
FIGURES = ("1", "2", "3", "4")
DATA_METHOD = "RPCholesky"
"""The data distillation of the pipeline; the others are compared with it."""


COUNTS = ("seeds", "other_seeds", "full_seeds")
"""Settings on which no stored result depends: a finished run goes on with more of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes, networks and seeds of a run.

    Parameters
    ----------
    data, quick
        Which data set, and whether the small run.
    pixels
        Height and width to which pictures in folders are scaled.
    train, validation, test
        Points that networks are trained on (``None``: all), that configurations are chosen on, and that all results
        are measured on.
    pool
        n: points of the training part that data are distilled from, the "full set".
    per_class
        Distilled points of each class; m = per_class · C.
    main, others
        The network of the figures, and those that its conclusions are checked on.
    distilled_epochs
        Epochs of a network trained on distilled data.
    seeds, other_seeds, full_seeds
        Seeds of the main network, of the others, and those for which regression on the full set and data whose pixels
        move are done. A seed draws another split, initial network, order of training, coreset and sketch.
    sketch_dim, nonzeros
        Of the sparse sign sketch.
    sizes, prefixes
        Synthetic gradients s of Figure 3; distilled points per class of Figure 1.
    exact_points, exact_sizes, solve_sizes
        Points at which exact and sketched kernels are compared, and sizes at which the exact kernel and its solve are
        timed.
    sweep
        Sketch sizes of the sweep over k.
    pixel_steps
        Optimisation steps of the methods that move pixels; 0: leave them out.
    """

    data: str
    quick: bool
    pixels: int
    train: int | None
    validation: int
    test: int
    pool: int
    per_class: int
    main: TrainingPlan
    others: tuple[TrainingPlan, ...]
    distilled_epochs: int
    seeds: int
    other_seeds: int
    full_seeds: int
    sketch_dim: int
    nonzeros: int
    sizes: tuple[int, ...]
    prefixes: tuple[int, ...]
    exact_points: int
    exact_sizes: tuple[int, ...]
    solve_sizes: tuple[int, ...]
    sweep: tuple[int, ...]
    pixel_steps: int

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON stores them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def runs(self) -> list[tuple[TrainingPlan, int]]:
        """Networks and seeds: those of the main network first."""
        main = [(self.main, seed) for seed in range(self.seeds)]
        return main + [(plan, seed) for plan in self.others for seed in range(self.other_seeds)]


def configuration_hash(settings: Settings, fingerprint: str, version: str) -> str:
    """Digest that changes with anything on which stored results depend."""
    kept = {name: value for name, value in settings.as_json().items() if name not in COUNTS}
    text = json.dumps([kept, fingerprint, version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
