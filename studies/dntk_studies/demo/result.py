"""What the demo found, as data: the verdict, the table, the report and tests read it."""

import dataclasses

from dntk.certificates import Certificate
from dntk.ledger import Ledger


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One way to predict what the network predicts, and its price.

    ``rows``: Jacobian rows; ``nbytes``: of kernels or features that are kept at once; ``seconds``: from the network to
    predictions of the test images; ``accuracy`` and ``fidelity``: on test images that nothing was fitted to, None where
    the method was not run; ``extrapolated``: rows and bytes are counted, and the seconds come from a smaller run.
    """

    method: str
    rows: int
    nbytes: int
    seconds: float
    accuracy: float | None
    fidelity: float | None
    extrapolated: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """The distilled kernel of a network beside its exact one.

    ``exact``: all points, its seconds extrapolated from ``measured_points`` points; ``distilled``: the line of the
    verdict, whose certificate and ledger stand beside it; ``others``: the same with other parts; ``certifying``: the
    certificate's seconds, in no line.
    """

    backend: str
    points: int
    test_points: int
    outputs: int
    parameters: int
    kept: int
    gradients: int
    sketch: str
    network_accuracy: float
    exact: Line
    measured: Line
    measured_points: int
    distilled: Line
    others: tuple[Line, ...]
    certificate: Certificate
    certifying: float
    ledger: Ledger
    spectrum: tuple[float, ...]
    truncation_rank: int
    seconds: float
