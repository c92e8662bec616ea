"""How a kernel changes along training, from a few points in place of all."""

from dntk.trajectories._trajectory import trajectory
from dntk.trajectories.value import Quantity, Trajectory

__all__ = ["Quantity", "Trajectory", "trajectory"]
