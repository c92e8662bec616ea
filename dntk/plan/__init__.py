"""What a call will cost, before it runs: passes, rows, operations, bytes and seconds, from a measured batch."""

from dntk.plan._certify import certify
from dntk.plan._features import tangent_features
from dntk.plan._kernel import ntk
from dntk.plan._value import Plan, PlannedStage

__all__ = ["Plan", "PlannedStage", "certify", "ntk", "tangent_features"]
