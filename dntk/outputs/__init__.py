"""Functions of a network's outputs as models: margins, log-probabilities, losses, and inputs with labels for them.

The gradient of h(f(x), y) in the parameters is that of the linear functional ⟨∇_f h, f(x)⟩, which differs from
input to input. A transformed model therefore goes wherever a model goes, at the price of one more forward pass.
"""

from dntk.outputs._functional import functional
from dntk.outputs.functionals import FeatureOutputs, KernelOutputs
from dntk.outputs.inputs import Labelled, labelled
from dntk.outputs.log_probabilities import log_softmax
from dntk.outputs.margins import margin
from dntk.outputs.sequences import SequenceModel, sequence_log_likelihood, sequence_loss, token_log_likelihoods
from dntk.outputs.transformed import TransformedModel
from dntk.outputs.value_losses import loss

__all__ = [
    "FeatureOutputs",
    "KernelOutputs",
    "Labelled",
    "SequenceModel",
    "TransformedModel",
    "functional",
    "labelled",
    "log_softmax",
    "loss",
    "margin",
    "sequence_log_likelihood",
    "sequence_loss",
    "token_log_likelihoods",
]
