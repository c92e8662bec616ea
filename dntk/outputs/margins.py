"""The margin of a class: its log odds under the softmax."""

import dataclasses

from jaxtyping import Float, Integer

from dntk import arrays
from dntk.models.base import Model
from dntk.outputs.labels import Label, is_label, label_source
from dntk.outputs.softmax import class_logits, output_cotangents
from dntk.outputs.transformed import TransformedModel, transformed
from dntk.types import Array


def margin(model: Model, y: Label = None) -> TransformedModel:
    """Log odds of a class, log p_y − log(1 − p_y) = f_y − log Σ_{c≠y} exp f_c, as a model of one output.

    Parameters
    ----------
    model
        Classifier with logits as outputs, from :func:`dntk.as_model`. One output is the logit of class 1 against
        class 0: its margin is f for class 1 and −f for class 0.
    y
        ``None``: the labels that come with the inputs, :func:`dntk.outputs.labelled`. An integer: that class.
        ``"predicted"``: the class of the largest output. Labels of inputs are no argument: they belong to the
        inputs and must follow them into batches, and to the other side of a kernel.

    Raises
    ------
    TypeError
        ``model`` is no model, or ``y`` something else, for example an array.
    ValueError
        ``y`` is negative or an unknown word. Where the model is used: no labels, or a label that is no class.

    Notes
    -----
    The margin has no maximum where p_y → 1, unlike log p_y, so that its gradient does not vanish on points that are
    fitted well; neither is formed from probabilities. Source: Park, Georgiev, Ilyas, Leclerc and Madry, *TRAK:
    attributing model behavior at scale*, ICML 2023.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(4, 3)), np.array([0, 1, 1, 0])
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> margins = dntk.outputs.margin(model)
    >>> margins(dntk.outputs.labelled(x, y)).shape
    (4, 1)
    >>> f = model(x)  # of two classes the margin is the difference of their logits
    >>> np.allclose(dntk.outputs.margin(model, 1)(x)[:, 0], f[:, 1] - f[:, 0])
    True
    """
    return transformed(model, Margin(), label_source(y))


@dataclasses.dataclass(frozen=True)
class Margin:
    """f_y − log Σ_{c≠y} exp f_c, with gradient e_y − r, r the softmax over the other classes."""

    def n_outputs(self, base: int) -> int:  # noqa: ARG002 - one margin for any number of classes
        """One."""
        return 1

    def value(self, outputs: Float[Array, "n c"], labels: Integer[Array, " n"]) -> Float[Array, "n one"]:
        """Margins of the labels."""
        xp, logits = arrays.namespace(outputs), class_logits(outputs)
        mine = is_label(labels, logits.shape[1])
        top, powers = _others(outputs, labels)
        label_logits = xp.sum(xp.where(mine, logits, xp.zeros_like(logits)), axis=1, keepdims=True)
        return (label_logits - top) - xp.log(xp.sum(powers, axis=1, keepdims=True))

    def push(
        self, outputs: Float[Array, "n c"], labels: Integer[Array, " n"], tangents: Float[Array, "q n c"]
    ) -> Float[Array, "q n one"]:
        """Tangents t become t_y − Σ_c r_c t_c."""
        xp = arrays.namespace(outputs)
        return xp.sum(_gradient(outputs, labels)[None, :, :] * class_logits(tangents), axis=2, keepdims=True)

    def pull(
        self, outputs: Float[Array, "n c"], labels: Integer[Array, " n"], cotangents: Float[Array, "q n one"]
    ) -> Float[Array, "q n c"]:
        """Cotangents u become u (e_y − r)."""
        return output_cotangents(cotangents * _gradient(outputs, labels)[None, :, :], outputs.shape[1])


def _gradient(outputs: Float[Array, "n c"], labels: Integer[Array, " n"]) -> Float[Array, "n v"]:
    """e_y − r in the logits of the classes."""
    xp = arrays.namespace(outputs)
    _, powers = _others(outputs, labels)
    shares = powers / xp.sum(powers, axis=1, keepdims=True)
    return xp.where(is_label(labels, shares.shape[1]), xp.ones_like(shares), -shares)


def _others(
    outputs: Float[Array, "n c"], labels: Integer[Array, " n"]
) -> tuple[Float[Array, "n one"], Float[Array, "n v"]]:
    """Largest logit of the other classes, and exp(f_c − that), 0 for the label."""
    xp, logits = arrays.namespace(outputs), class_logits(outputs)
    others = xp.where(is_label(labels, logits.shape[1]), xp.full_like(logits, -xp.inf), logits)
    top = xp.max(others, axis=1, keepdims=True)
    return top, xp.exp(others - top)
