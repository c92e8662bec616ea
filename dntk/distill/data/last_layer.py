"""Points chosen by what enters the network's last layer: a forward pass, and no gradient."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.distill.data.base import DataSelector, Selection
from dntk.features import TangentFeatures, tangent_features
from dntk.models import batches
from dntk.models.base import POINTS, Model, checked_inputs
from dntk.models.input_gradients import InputDifferentiable
from dntk.sketch import SparseSign
from dntk.types import Array

_DIM = 256
"""Features of one functional, where the last layer cannot be looked at."""


@dataclasses.dataclass(frozen=True)
class LastLayer:
    """A selector that sees the inputs h(x) of the last linear layer, whose tangent features they are.

    For f = W h + b the gradient of an output in its row of W and b is (h, 1), so that h hᵀ + 1 is the last layer's
    part of every K^c. It costs one forward pass a point, where the features of one functional cost a backward pass
    more and a sketch. Inputs may be anything that the network takes, token ids too. Models that do not show what
    enters their layers (``autograd.numpy``, :mod:`dntk.outputs`), or have no linear layer, are looked at by 256
    sketched features of one functional instead.

    Parameters
    ----------
    selector
        Any selector of points, such as ``KMeans(500)`` or ``Balanced(Herding(500), labels)``.
    seed
        Of the sketch, where one is needed.
    """

    selector: DataSelector
    seed: int = 0

    def select_inputs(self, model: Model, x: Array) -> Selection:
        """Chosen points of the inputs ``x``; the residual trace is that of the kernel h hᵀ + 1.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take; more points asked than there are.
        """
        x = checked_inputs(model, x)
        return self.selector.select(last_layer_features(model, x, seed=self.seed))


def last_layer_features(model: Model, x: Array, *, seed: int = 0) -> TangentFeatures:
    """(h, 1) of checked inputs, the mean over positions where there are several; else features of one functional."""
    head = _head(model, x)
    if head is None:
        return tangent_features(model, x, sketch=SparseSign(_DIM, seed=seed), outputs="sum")
    differentiable, name = head
    n = batches.count(x)
    with task("inputs of the last layer", total=n, unit="points") as bar:
        pieces = [_entering(differentiable, batches.span(x, start, stop), name) for start, stop in bar.spans(n, POINTS)]
    xp = model.namespace
    entering = xp.concat(pieces, axis=0)
    one = xp.ones((batches.count(x), 1), dtype=entering.dtype, device=arrays.device_of(entering))
    return TangentFeatures(xp.concat([entering, one], axis=1))


def _head(model: Model, x: Array) -> tuple[InputDifferentiable, str] | None:
    """The model and the name of its last linear layer, if both are known."""
    if not isinstance(model, InputDifferentiable):
        return None
    try:
        return model, model.head(batches.first(x))
    except ValueError:  # it has no such layer
        return None


def _entering(model: InputDifferentiable, x: Array, name: str) -> Float[Array, "n d"]:
    return model.namespace.mean(model.observe(x, (name,)).inputs[name], axis=1)
