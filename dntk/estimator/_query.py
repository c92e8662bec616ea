"""What a fit says of queries."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.certificates import posterior_variance
from dntk.estimator._steps import predicted
from dntk.estimator.state import FittedState
from dntk.features import TangentFeatures
from dntk.ledger import StageCost, count_product
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What a fit says of queries, see :meth:`Fit.query`.

    Parameters
    ----------
    prediction, uncertainty
        (n, C), as :meth:`Fit.predict` (to rounding) and :meth:`Fit.uncertainty`.
    trust
        (n,), as :meth:`Fit.trust`.
    cost
        What all three took together.
    """

    prediction: Float[Array, "n c"]
    uncertainty: Float[Array, "n c"]
    trust: Float[Array, " n"]
    cost: StageCost


def moments(phi: TangentFeatures, state: FittedState) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
    """Predictions and deviations of queries given by their features."""
    count_product(phi.values, state.weights[:, :, None])
    return predicted(phi, state.weights), deviation(phi, state)


def deviation(phi: TangentFeatures, state: FittedState) -> Float[Array, "n c"]:
    """√v̂ of queries given by their features."""
    span = state.span()
    variance = posterior_variance(phi.values, span.basis, span.squares, ridge=state.ridge)
    xp = arrays.namespace(variance)
    return xp.astype(xp.sqrt(variance).T, phi.values.dtype, copy=False)
