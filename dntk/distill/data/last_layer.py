"""Points chosen by what enters the network's last layer: a forward pass, and no gradient."""

import dataclasses
import functools
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk._progress import task
from dntk.distill.data.base import DataSelector, Selection
from dntk.distill.data.given import GivenPoints
from dntk.features import TangentFeatures, kept_features
from dntk.models import batches
from dntk.models.base import POINTS, Model, checked_inputs
from dntk.models.batching import choose_batch_size
from dntk.models.input_gradients import InputDifferentiable
from dntk.sketch import SparseSign
from dntk.stores.rows import PointRows
from dntk.stores.spread import all_parts
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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> selector = dntk.distill.data.LastLayer(dntk.distill.data.KMeans(5))
    >>> core = selector.select_inputs(model, rng.normal(size=(40, 3)))  # no gradients are made
    >>> core.indices.shape
    (5,)
    """

    selector: DataSelector
    seed: int = 0

    def select_inputs(
        self, model: Model, x: Array, *, memory_limit: int | None = None, given: GivenPoints = None, client: Any = None
    ) -> Selection:
        """Chosen points of the inputs ``x``; the residual trace is that of the kernel h hᵀ + 1.

        Parameters
        ----------
        model, x
            The network, and the inputs to choose from.
        memory_limit
            Bytes that h and what layers hold of inputs may take beside the network and ``x``; what ``selector`` takes
            is not counted. Default: 256 inputs at once.
        given
            Points that are there already: their positions in ``x``, a mask, or the selection that chose them.
        client
            A ``dask.distributed.Client`` whose workers look at the points; h comes into this process's memory, to the
            same bits.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take; more points asked than there are; a limit that does not suffice.
        ConnectionError
            The scheduler of ``client`` is gone.
        """
        x = checked_inputs(model, x)
        if memory_limit is not None:
            memory_limit = positive_integer("memory_limit", memory_limit, remedy="a number of bytes, or None")
        if isinstance(given, TangentFeatures):
            msg = "`given` are features, which this selector makes itself: pass positions in `x`, or a Selection."
            raise TypeError(msg)
        beside = {} if given is None else {"given": given}
        phi = last_layer_features(model, x, seed=self.seed, memory_limit=memory_limit, client=client)
        return self.selector.select(phi, **beside)


def last_layer_features(
    model: Model, x: Array, *, seed: int = 0, memory_limit: int | None = None, client: Any = None
) -> TangentFeatures:
    """(h, 1) of checked inputs, the mean over positions where there are several; else features of one functional."""
    head = _head(model, x)
    if head is None:
        sketch = SparseSign(_DIM, seed=seed)
        return kept_features(
            model, x, sketch=sketch, outputs="sum", memory_limit=memory_limit, kept=None, client=client
        )
    differentiable, name = head
    n = batches.count(x)
    size = POINTS if memory_limit is None else min(POINTS, _fitting(differentiable, x, name, memory_limit))
    with task("inputs of the last layer", total=n, unit="points") as bar:
        rows = PointRows(functools.partial(_entering, differentiable, name), size, axis=0)
        entering = all_parts(rows, x, client, bar)
    arrays.require_finite("what enters the last layer", entering)
    xp = model.namespace
    one = xp.ones((batches.count(x), 1), dtype=entering.dtype, device=arrays.device_of(entering))
    return TangentFeatures(xp.concat([entering, one], axis=1))


def has_last_layer(model: Model, x: Array) -> bool:
    """Whether what enters the last layer can be looked at."""
    return _head(model, x) is not None


def _head(model: Model, x: Array) -> tuple[InputDifferentiable, str] | None:
    """The model and the name of its last linear layer, if both are known."""
    if not isinstance(model, InputDifferentiable):
        return None
    try:
        return model, model.head(batches.first(x))
    except ValueError:  # it has no such layer
        return None


def _fitting(model: InputDifferentiable, x: Array, name: str, memory_limit: int) -> int:
    """Inputs that are looked at at once within a limit, of which h takes three copies: in parts, whole and with 1."""
    first, xp = _entering(model, name, batches.first(x)), model.namespace
    held = 3 * batches.count(x) * (first.shape[1] + 1) * arrays.itemsize(first)
    one = xp.ones((1, model.n_outputs), dtype=arrays.kernel_dtype(xp, model.dtype), device=model.device)
    return choose_batch_size(model, x, one, None, held=held, memory_limit=memory_limit)


def _entering(model: InputDifferentiable, name: str, x: Array) -> Float[Array, "n d"]:
    return model.namespace.mean(model.observe(x, (name,)).inputs[name], axis=1)
