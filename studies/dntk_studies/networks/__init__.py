"""Networks that are trained for the studies, by PyTorch; nothing is imported from it until one is asked for."""

from dntk_studies.networks._find_trainer import find_trainer
from dntk_studies.networks.plan import Progress, TrainedNetwork, Trainer, TrainingPlan

__all__ = ["Progress", "TrainedNetwork", "Trainer", "TrainingPlan", "find_trainer"]
