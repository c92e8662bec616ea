"""What a fit holds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float, Int

from dntk.certificates import Certificate, Span
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.distill.data import DistilledData
from dntk.estimator.linear_weights import LinearWeights
from dntk.estimator.losses import Losses
from dntk.estimator.once import Once
from dntk.identity import Watch
from dntk.ledger import Ledger
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FittedState:
    """Everything that prediction, storage and reports need.

    Parameters
    ----------
    weights
        (C, k), in sketched coordinates; (1, k) of one regression for all outputs.
    span
        What was kept: orthonormal rows (C, s, k), and the squared singular values (C, s) of the synthetic gradients
        along them; one for all outputs, (1, s, k) and (1, s), of one regression. Where gradients were not distilled it
        is made when it is first needed; until then it holds the features of the kept points.
    sketch, ridge
        The sketch bound to the network's parameters, and λ.
    spectrum
        Eigenvalues of K̄ on the m kept points, descending; of the kernel of the rows of one regression.
    indices, data
        Positions of the kept points; or the distilled data, where inputs were made.
    losses, ledger, tolerance
        What every stage lost and cost, and whether a tolerance was met.
    certificate
        Made when it is first read; until then it holds the features of the kept points.
    made_by
        The parts of the specification, in words.
    network
        Which network it is of, and whether that is still the same.
    memory_limit
        Bytes that predictions may take beside the network and their inputs; it is not stored.
    linear
        The weights as predictions use them: also in the coordinates of the parameters, once they are needed there.
    """

    weights: Float[Array, "g k"]
    span: Once[Span]
    sketch: Any
    ridge: float
    spectrum: Float[Array, " r"]
    indices: Int[Array, " m"] | None
    data: DistilledData | None
    losses: Losses
    ledger: Ledger
    tolerance: ToleranceOutcome | None
    certificate: Once[Certificate]
    made_by: Mapping[str, str]
    network: Watch
    memory_limit: int | None = None
    linear: LinearWeights = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "linear", LinearWeights(self.weights, self.sketch))

    @property
    def is_joint(self) -> bool:
        """Whether all of several outputs were one regression."""
        return int(self.weights.shape[0]) < int(self.network.identity.outputs.shape[1])

    @property
    def costs(self) -> Ledger:
        """Those of the stages, and of the certificate once it is made."""
        made = self.certificate() if self.certificate.is_made else None
        more = () if made is None or made.cost is None else (made.cost,)
        return Ledger(stages=(*self.ledger.stages, *more))
