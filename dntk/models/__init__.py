"""Networks at fixed parameters, with derivatives in them: the protocol, and the models that belong to no framework."""

from dntk.models._bridge import bridge
from dntk.models.base import Model, as_model
from dntk.models.forms import GradientForms, ParameterForm
from dntk.models.input_gradients import InputDifferentiable
from dntk.models.mlp import MLP
from dntk.models.sources import Points, points
from dntk.models.state import Stateful

__all__ = [
    "MLP",
    "GradientForms",
    "InputDifferentiable",
    "Model",
    "ParameterForm",
    "Points",
    "Stateful",
    "as_model",
    "bridge",
    "points",
]
