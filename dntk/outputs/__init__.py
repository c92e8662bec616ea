"""Functions of a network's outputs as models: margins, log-probabilities, losses, and inputs with labels for them.

The gradient of h(f(x), y) in the parameters is that of the linear functional ⟨∇_f h, f(x)⟩, which differs from
input to input. A transformed model therefore goes wherever a model goes, at the price of one more forward pass.
"""

from dntk.outputs.functionals import FeatureOutputs as FeatureOutputs
from dntk.outputs.functionals import KernelOutputs as KernelOutputs
from dntk.outputs.functionals import check_output_index as check_output_index
from dntk.outputs.functionals import cotangents_for as cotangents_for
from dntk.outputs.inputs import Labelled as Labelled
from dntk.outputs.inputs import labelled as labelled
from dntk.outputs.log_probabilities import log_softmax as log_softmax
from dntk.outputs.margins import margin as margin
from dntk.outputs.transformed import TransformedModel as TransformedModel
from dntk.outputs.value_losses import loss as loss
