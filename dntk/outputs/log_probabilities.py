"""Log-probabilities of all classes."""

import dataclasses

from jaxtyping import Float

from dntk.models.base import Model
from dntk.outputs import softmax
from dntk.outputs.labels import Unused
from dntk.outputs.softmax import class_logits, output_cotangents
from dntk.outputs.transformed import TransformedModel, transformed
from dntk.types import Array


def log_softmax(model: Model) -> TransformedModel:
    """Log-probabilities log p_c = f_c − log Σ_d exp f_d of all classes, as a model of C outputs.

    Parameters
    ----------
    model
        Classifier with logits as outputs, from :func:`dntk.as_model`. One output is the logit of class 1 against
        class 0, and gives two log-probabilities.

    Raises
    ------
    TypeError
        ``model`` is no model.
    ValueError
        Where the model is used: inputs with labels, which it does not take.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> model = dntk.MLP(weights=(rng.normal(size=(3, 5)),), biases=(None,))
    >>> log_p = dntk.outputs.log_softmax(model)(rng.normal(size=(4, 5)))
    >>> log_p.shape, np.allclose(np.exp(log_p).sum(axis=1), 1)
    ((4, 3), True)
    """
    return transformed(model, LogSoftmax(), Unused())


@dataclasses.dataclass(frozen=True)
class LogSoftmax:
    """The logarithm of the softmax, with Jacobian I − 1 pᵀ."""

    def n_outputs(self, base: int) -> int:
        """One per class."""
        return max(2, base)

    def value(self, outputs: Float[Array, "n c"], labels: None) -> Float[Array, "n v"]:  # noqa: ARG002
        """Log-probabilities."""
        return softmax.log_probabilities(class_logits(outputs))

    def push(
        self,
        outputs: Float[Array, "n c"],
        labels: None,  # noqa: ARG002
        tangents: Float[Array, "q n c"],
    ) -> Float[Array, "q n v"]:
        """Tangents t become t − Σ_c p_c t_c."""
        return softmax.push(class_logits(outputs), class_logits(tangents))

    def pull(
        self,
        outputs: Float[Array, "n c"],
        labels: None,  # noqa: ARG002
        cotangents: Float[Array, "q n v"],
    ) -> Float[Array, "q n c"]:
        """Cotangents u become u − p Σ_c u_c."""
        return output_cotangents(softmax.pull(class_logits(outputs), cotangents), outputs.shape[1])
