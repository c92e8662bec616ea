"""The paper's experiments on real images: ``dntk reproduce``."""

from dntk.reproduce.presets import preset
from dntk.reproduce.recipe import Recipes, TrainedNetwork, TrainingPlan
from dntk.reproduce.run import Prepared, figures_of, prepare, run
from dntk.reproduce.settings import DATA, FIGURES, Settings

__all__ = [
    "DATA",
    "FIGURES",
    "Prepared",
    "Recipes",
    "Settings",
    "TrainedNetwork",
    "TrainingPlan",
    "figures_of",
    "prepare",
    "preset",
    "run",
]
