"""The paper's experiments on real images: ``dntk reproduce``."""

from dntk_studies.networks import TrainedNetwork, Trainer, TrainingPlan
from dntk_studies.reproduce._presets import preset
from dntk_studies.reproduce._run import Prepared, figures_of, prepare, run
from dntk_studies.reproduce.settings import DATA, FIGURES, Settings

__all__ = [
    "DATA",
    "FIGURES",
    "Prepared",
    "Settings",
    "TrainedNetwork",
    "Trainer",
    "TrainingPlan",
    "figures_of",
    "prepare",
    "preset",
    "run",
]
