"""The loss of one input: cross entropy for classes, squared error for targets."""

import dataclasses

from jaxtyping import Float, Integer

from dntk import arrays
from dntk.models.base import Model
from dntk.outputs import softmax
from dntk.outputs.labels import Label, is_label, label_source
from dntk.outputs.softmax import class_logits, output_cotangents
from dntk.outputs.transformed import OutputFunction, TransformedModel, transformed
from dntk.types import Array


def loss(model: Model, y: Label = None) -> TransformedModel:
    """Loss of every input, as a model of one output: its gradients are the steps of stochastic gradient descent.

    Integer labels: cross entropy, −log p_y. Floating-point targets: squared error, Σ_c (f_c − y_c)².

    Parameters
    ----------
    model
        From :func:`dntk.as_model`. For integer labels the outputs are logits, and one output is the logit of class 1
        against class 0.
    y
        ``None``: labels or targets come with the inputs, :func:`dntk.outputs.labelled`. An integer: that class.
        ``"predicted"``: the class of the largest output. Labels of inputs are no argument, as for
        :func:`dntk.outputs.margin`.

    Raises
    ------
    TypeError
        ``model`` is no model, or ``y`` something else, for example an array.
    ValueError
        ``y`` is negative or an unknown word. Where the model is used: no labels, a label that is no class, targets
        of another shape than the outputs.

    Notes
    -----
    The cross entropy and its gradient keep their relative accuracy where p_y → 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(4, 3)), np.array([0, 1, 1, 0])
    >>> model = dntk.MLP(weights=(np.zeros((2, 3)),), biases=(None,))  # says one half to all
    >>> dntk.outputs.loss(model)(dntk.outputs.labelled(x, y)).round(4).tolist()  # log 2
    [[0.6931], [0.6931], [0.6931], [0.6931]]
    >>> dntk.ntk(dntk.outputs.loss(model), dntk.outputs.labelled(x, y)).shape
    (4, 4)
    """
    return transformed(model, Loss(), label_source(y, targets=True))


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """−log p_y, with gradient p − e_y."""

    def n_outputs(self, base: int) -> int:  # noqa: ARG002 - one loss for any number of classes
        """One."""
        return 1

    def value(self, outputs: Float[Array, "n c"], labels: Integer[Array, " n"]) -> Float[Array, "n one"]:
        """Negative log-probabilities of the labels."""
        xp, values = arrays.namespace(outputs), softmax.log_probabilities(class_logits(outputs))
        mine = is_label(labels, values.shape[1])
        return -xp.sum(xp.where(mine, values, xp.zeros_like(values)), axis=1, keepdims=True)

    def push(
        self, outputs: Float[Array, "n c"], labels: Integer[Array, " n"], tangents: Float[Array, "q n c"]
    ) -> Float[Array, "q n one"]:
        """Tangents t become Σ_c p_c t_c − t_y."""
        xp, moved = arrays.namespace(outputs), softmax.push(class_logits(outputs), class_logits(tangents))
        mine = is_label(labels, moved.shape[2])
        return -xp.sum(xp.where(mine, moved, xp.zeros_like(moved)), axis=2, keepdims=True)

    def pull(
        self, outputs: Float[Array, "n c"], labels: Integer[Array, " n"], cotangents: Float[Array, "q n one"]
    ) -> Float[Array, "q n c"]:
        """Cotangents u become u (p − e_y)."""
        xp, logits = arrays.namespace(outputs), class_logits(outputs)
        mine = xp.astype(is_label(labels, logits.shape[1]), outputs.dtype)
        return output_cotangents(softmax.pull(logits, -cotangents * mine[None, :, :]), outputs.shape[1])


@dataclasses.dataclass(frozen=True)
class SquaredError:
    """Σ_c (f_c − y_c)², with gradient 2 (f − y)."""

    def n_outputs(self, base: int) -> int:  # noqa: ARG002 - one loss for any number of outputs
        """One."""
        return 1

    def value(self, outputs: Float[Array, "n c"], labels: Float[Array, "n c"]) -> Float[Array, "n one"]:
        """Squared distances to the targets."""
        return arrays.namespace(outputs).sum((outputs - labels) ** 2, axis=1, keepdims=True)

    def push(
        self, outputs: Float[Array, "n c"], labels: Float[Array, "n c"], tangents: Float[Array, "q n c"]
    ) -> Float[Array, "q n one"]:
        """Tangents t become 2 Σ_c (f_c − y_c) t_c."""
        return arrays.namespace(outputs).sum((outputs - labels)[None, :, :] * tangents, axis=2, keepdims=True) * 2

    def pull(
        self, outputs: Float[Array, "n c"], labels: Float[Array, "n c"], cotangents: Float[Array, "q n one"]
    ) -> Float[Array, "q n c"]:
        """Cotangents u become 2 u (f − y)."""
        return cotangents * (outputs - labels)[None, :, :] * 2


@dataclasses.dataclass(frozen=True)
class Loss:
    """The loss that the kind of label asks for."""

    def n_outputs(self, base: int) -> int:  # noqa: ARG002 - one loss for any number of outputs
        """One."""
        return 1

    def value(self, outputs: Float[Array, "n c"], labels: Array) -> Float[Array, "n one"]:
        """Losses of the inputs."""
        return _for(labels).value(outputs, labels)

    def push(
        self, outputs: Float[Array, "n c"], labels: Array, tangents: Float[Array, "q n c"]
    ) -> Float[Array, "q n one"]:
        """Directional derivatives of the losses."""
        return _for(labels).push(outputs, labels, tangents)

    def pull(
        self, outputs: Float[Array, "n c"], labels: Array, cotangents: Float[Array, "q n one"]
    ) -> Float[Array, "q n c"]:
        """Gradients of the losses in the outputs."""
        return _for(labels).pull(outputs, labels, cotangents)


def _for(labels: Array) -> OutputFunction:
    return SquaredError() if arrays.is_floating(labels) else CrossEntropy()
