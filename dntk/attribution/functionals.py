"""The functional of the outputs whose gradients are compared, and how strongly a training point pulls on it."""

import dataclasses
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk.models.base import Model
from dntk.outputs import loss, margin
from dntk.types import Array


@runtime_checkable
class Functional(Protocol):
    """One number per input with its label, whose gradients in the parameters are the features."""

    def of(self, model: Model) -> Model:
        """The functional as a model of one output."""

    def pulls(self, values: Float[Array, "n one"]) -> Float[Array, " n"]:
        """Derivative of −loss in the functional, from its values at the training points: how strongly each pulls."""


@dataclasses.dataclass(frozen=True)
class Margins:
    """Log odds of the label: a point of probability p pulls on its margin with 1 − p (Park and others, TRAK, 2023).

    Scores are changes of the margin of a query, up to a common factor: positive for points that raise it.

    Examples
    --------
    >>> margins = np.array([[0.0], [20.0]])  # a point of probability ½, and one that is certain
    >>> dntk.attribution.Margins().pulls(margins).round(6).tolist()
    [0.5, 0.0]
    """

    def of(self, model: Model) -> Model:
        """The margin of the labels."""
        return margin(model)

    def pulls(self, values: Float[Array, "n one"]) -> Float[Array, " n"]:
        """1 − p = 1/(1 + exp m), without overflow."""
        xp = arrays.namespace(values)
        small = xp.exp(-xp.abs(values[:, 0]))
        return xp.where(values[:, 0] > 0, small, xp.ones_like(small)) / (1 + small)


@dataclasses.dataclass(frozen=True)
class Losses:
    """The loss itself: influence functions with the Gauss-Newton matrix of the loss gradients (Koh and Liang 2017).

    Scores are changes of a query's loss with the sign turned: positive for points that lower it. Gradients of points
    that are fitted well vanish; :class:`Margins` do not. Labels may be classes or, for the squared error, targets.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> train = dntk.outputs.labelled(rng.normal(size=(40, 3)), rng.integers(2, size=40))
    >>> rule = dntk.attribution.Attribution(model, functional=dntk.attribution.Losses())
    >>> rule.fit(train).self_influence().shape
    (40,)
    """

    def of(self, model: Model) -> Model:
        """The loss of the labels."""
        return loss(model)

    def pulls(self, values: Float[Array, "n one"]) -> Float[Array, " n"]:
        """Ones."""
        return arrays.namespace(values).ones_like(values[:, 0])
