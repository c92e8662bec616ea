"""What a fit leaves behind."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int

from dntk.certificates.certificate import Certificate
from dntk.distill.data import DistilledData
from dntk.estimator.losses import Losses
from dntk.ledger import Ledger
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedState:
    """Everything that prediction, storage and reports need.

    ``weights`` (C, k) in sketched coordinates, ``basis`` orthonormal rows (C, s, k) of the span kept, ``squares``
    (C, s) the squared singular values of the synthetic gradients along them, ``spectrum`` the eigenvalues of K̄ on the
    m kept points, ``indices`` of those points, or ``data`` where they were distilled. ``certified`` makes the
    certificate, once; until then it holds the features.
    """

    weights: Float[Array, "c k"]
    basis: Float[Array, "c s k"]
    squares: Float[Array, "c s"]
    sketch: Any
    ridge: float
    spectrum: Float[Array, " m"]
    indices: Int[Array, " m"] | None
    losses: Losses
    certified: Callable[[], Certificate]
    ledger: Ledger
    data: DistilledData | None = None
