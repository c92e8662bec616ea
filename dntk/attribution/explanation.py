"""What one prediction of a kernel regression is made of: the nearest training points, and the rest of them."""

import dataclasses
import operator

from jaxtyping import Float, Int

from dntk import arrays
from dntk._checks import is_integer, positive_integer, require_kind
from dntk.attribution._leave_one_out import LeftOut
from dntk.features import TangentFeatures
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """The nearest training points of queries and what each adds to one output; made by :func:`explain`.

    Parameters
    ----------
    indices
        Positions among the training points (q, m), the nearest first.
    distances
        ‖ψ_c(x) − ψ_c(x_i)‖ (q, m), in the kernel of the output.
    contributions
        What each of them adds to the prediction (q, m).
    rest
        What all other training points add (q,): with the contributions it sums to the prediction.
    prediction
        f_c(x) (q,).
    """

    indices: Int[Array, "q m"]
    distances: Float[Array, "q m"]
    contributions: Float[Array, "q m"]
    rest: Float[Array, " q"]
    prediction: Float[Array, " q"]


def explain(left: LeftOut, phi: TangentFeatures, output: int, *, size: int = 5) -> Explanation:
    """Nearest training points of every query in the kernel of an output, with terms that sum to its prediction.

    Near is not heavy: where ``rest`` is most of a prediction, it does not rest on the neighbours that are shown.

    Parameters
    ----------
    left
        The regression, from :func:`leave_one_out`.
    phi
        Features of the queries.
    output
        Which output is explained.
    size
        Training points that are shown.

    Raises
    ------
    TypeError, ValueError
        An output that there is not, more points than there are, or features of another network or sketch.

    Notes
    -----
    O(q·n·(C·d + k)), of which the contributions are the most.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> left = dntk.attribution.leave_one_out(phi, y, ridge=1.0)
    >>> told = dntk.attribution.explain(left, phi[:2], output=1, size=3)
    >>> told.indices.shape, told.indices[:, 0].tolist()  # the nearest to a point is itself
    ((2, 3), [0, 1])
    >>> np.allclose(told.contributions.sum(axis=1) + told.rest, told.prediction)
    True
    """
    require_kind("left", left, LeftOut, expected="what dntk.attribution.leave_one_out returns")
    parts = left.contributions(phi)
    c, n = parts.shape[0], parts.shape[2]
    if not is_integer(output) or not 0 <= operator.index(output) < c:
        msg = f"`output` must be an integer from 0 to {c - 1}, got {output!r}."
        raise ValueError(msg)
    size = positive_integer("size", size)
    if size > n:
        msg = f"`size` is {size}, but there are {n} training points: ask for {n} at most."
        raise ValueError(msg)
    xp, place = arrays.namespace(parts), operator.index(output)
    shared = min(place, left.features.n_outputs - 1)
    ours, theirs = (TangentFeatures(features.values[shared, :, :]) for features in (left.features, phi))
    near = ours.nearest(theirs, size)
    mine = parts[place, :, :]
    shown = xp.take_along_axis(mine, near.indices, axis=1)
    prediction = xp.sum(mine, axis=1)
    return Explanation(
        indices=near.indices,
        distances=near.distances,
        contributions=shown,
        rest=prediction - xp.sum(shown, axis=1),
        prediction=prediction,
    )
