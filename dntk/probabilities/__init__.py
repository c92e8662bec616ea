"""Class probabilities from a prediction and its uncertainty, and the scales that make them right on held-out points."""

from dntk.probabilities._calibration import calibrated
from dntk.probabilities.links import Link, MonteCarlo, Probit

__all__ = ["Link", "MonteCarlo", "Probit", "calibrated"]
