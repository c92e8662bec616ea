"""What the comparison of methods found, as data: tables, reports and tests read it."""

import dataclasses

from dntk.ledger import Ledger, StageCost


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table, measured on test points that nothing was fitted to.

    ``gradients``: per-sample or synthetic gradients kept per output; ``compression``: coreset points per kept gradient;
    ``trace_residual``: share of the coreset kernel's trace that is lost (``None`` where nothing is projected);
    ``unseen``: mean accuracy on groupings of the digits that no stage saw.
    """

    method: str
    gradients: int | None
    compression: float | None
    accuracy: float
    fidelity: float
    mse: float
    trace_residual: float | None
    unseen: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodsResult:
    """Rows of the table, costs, and the curves of the report.

    ``spectrum``: eigenvalues of the coreset's mean kernel; ``coverage``: per size, energy coverage of its leading
    eigenvectors by Algorithm 1's directions; ``choices``: Algorithm 1's configuration per size, chosen on the
    validation part.
    """

    backend: str
    points: int
    coreset: int
    outputs: int
    parameters: int
    sketch: str
    ridge: float
    truncation_rank: int
    condition_number: float
    rows: tuple[Row, ...]
    ledger: Ledger
    exact: StageCost
    spectrum: tuple[float, ...]
    coverage: dict[int, tuple[float, ...]]
    choices: dict[int, str]
    seconds: float
