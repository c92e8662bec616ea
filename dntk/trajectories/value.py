"""What a trajectory of a kernel is: quantities at every checkpoint, each with an interval from held-out points."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dntk._checks import folder
from dntk.bounds import Intervals
from dntk.distill.data import Selection
from dntk.report.plots import trajectory_plot
from dntk.trajectories.measures import ALIGNMENT, DIMENSION


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity at every checkpoint, on the host.

    Parameters
    ----------
    values
        Estimates (t,), or (t, r) of several.
    lower, upper
        Ends of the intervals, which contain the estimates: by a delete-group jackknife of held-out points, of the
        alignment by their spread or that of probes. Equal to the values where they are exact.
    confidence
        Nominal share of intervals that hold the value of all points, one at a time; empirical, no theorem.
    """

    values: Float[np.ndarray, "*shape"]
    lower: Float[np.ndarray, "*shape"]
    upper: Float[np.ndarray, "*shape"]
    confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """A kernel along training; made by :func:`dntk.trajectory`.

    Parameters
    ----------
    eigenvalues
        The leading ones of the mean kernel of all points, (t, r).
    effective_dimension
        tr K̄(K̄ + λI)⁻¹, λ in units of each checkpoint's own trace; from few points without interval (NaN):
        they miss dimensions.
    alignment
        With the targets; None without. Where a selection stands by its weights from held-out points alone, of which
        small ones need hundreds: see the interval.
    drift
        ‖K̄_t − K̄_0‖_F/‖K̄_0‖_F, from the first checkpoint.
    outside
        Mean share of a point's gradients outside the span of the distilled points' at every checkpoint, among points
        that were not chosen: an interval (1,) each, by a theorem. None where all points are used.
    selection
        The distilled points; None where all are used.
    reference
        The checkpoint at which all points were differentiated; None for none.
    rows, all_rows
        Jacobian rows that were computed, the choice of points included, and those of all points everywhere.
    """

    eigenvalues: Quantity
    effective_dimension: Quantity
    alignment: Quantity | None
    drift: Quantity
    outside: tuple[Intervals, ...] | None
    selection: Selection | None
    reference: int | None
    rows: int
    all_rows: int

    def __len__(self) -> int:
        """Number of checkpoints."""
        return int(self.drift.values.shape[0])

    def __repr__(self) -> str:
        """Checkpoints, and what they cost."""
        saved = self.all_rows / self.rows
        return f"Trajectory({len(self)} checkpoints, {self.rows:,} Jacobian rows, {saved:.1f} times fewer than all)"

    def plot(self, path: str | Path, *, labels: Sequence[Any] | None = None) -> None:
        """Write an SVG picture of all quantities over the checkpoints, ``labels`` on the axis, such as epochs.

        Raises
        ------
        ImportError
            matplotlib is missing.
        ValueError
            Another number of labels than checkpoints.
        """
        if labels is not None and len(labels) != len(self):
            msg = f"`labels` has {len(labels)} entries, but there are {len(self)} checkpoints: pass one for each."
            raise ValueError(msg)
        panels = {"leading eigenvalues": self.eigenvalues, "effective dimension": self.effective_dimension}
        if self.alignment is not None:
            panels["alignment with the targets"] = self.alignment
        panels["drift from the first checkpoint"] = self.drift
        text = trajectory_plot({name: (q.values, q.lower, q.upper) for name, q in panels.items()}, labels)
        folder("path", path).write_text(text, encoding="utf-8")


def assembled(
    ends: Sequence[tuple[Float[np.ndarray, " q"], ...]], confidence: float, *, aligned: bool, **fields: Any
) -> Trajectory:
    """From measures at every checkpoint, each with the ends of its interval."""
    value, lower, upper = (np.stack(part) for part in zip(*ends, strict=True))

    def part(where: Any) -> Quantity:
        return Quantity(values=value[:, where], lower=lower[:, where], upper=upper[:, where], confidence=confidence)

    return Trajectory(
        eigenvalues=part(slice(0, DIMENSION)),
        effective_dimension=part(DIMENSION),
        alignment=part(ALIGNMENT) if aligned else None,
        drift=part(-1),
        **{"outside": None, "selection": None, "reference": None, **fields},
    )
