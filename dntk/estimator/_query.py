"""What a fit says of queries."""

import dataclasses

from jaxtyping import Float

from dntk.ledger import StageCost
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
