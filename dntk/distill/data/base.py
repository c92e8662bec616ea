"""What a selector of points is, and what it returns."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int

from dntk._checks import positive_integer
from dntk.features import TangentFeatures, require_kernel_of
from dntk.models.base import Model
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """Chosen points (a coreset).

    Parameters
    ----------
    indices
        Positions of the chosen points, in the order of choice.
    weights
        Weight of each in sums over the data, 1 on average; ones where the selector gives all points equal say.
    residual_trace
        tr(K̄ − K̄_Nyström) after each pick, absolute: what the points chosen so far, and those that were given, leave of
        the kernel.
    trace
        tr K̄ of all points.
    """

    indices: Int[Array, " m"]
    weights: Float[Array, " m"]
    residual_trace: Float[Array, " m"]
    trace: float

    def __len__(self) -> int:
        """Number of chosen points."""
        return self.indices.shape[0]

    def first(self, size: int) -> "Selection":
        """The first ``size`` picks, with what they leave of the kernel: one selection holds the whole curve.

        Raises
        ------
        ValueError
            More are asked than were chosen, or none.
        """
        check_selection_size(size, len(self))
        return Selection(
            indices=self.indices[:size],
            weights=self.weights[:size],
            residual_trace=self.residual_trace[:size],
            trace=self.trace,
        )


@runtime_checkable
class DataSelector(Protocol):
    """Chooses points by their tangent features."""

    @property
    def size(self) -> int:
        """Number of points to choose."""

    def select(self, phi: TangentFeatures, *, given: Any = None) -> Selection:
        """Chosen points.

        Parameters
        ----------
        phi
            Features of the points to choose from.
        given
            Points that are there already, such as those that have labels: their positions, a mask, the selection that
            chose them, or features of points that are not among those of ``phi``. They are not chosen again, and the
            choice is one of points beside them. The residual trace is what is left by both.
        """


@runtime_checkable
class InputSelector(Protocol):
    """Chooses points by looking at a network's inputs in a way of its own."""

    def select_inputs(self, model: Model, x: Array) -> Selection:
        """Chosen points of the inputs ``x``."""


def check_selection(size: int, phi: TangentFeatures) -> None:
    """Raise unless these are features, of ``size`` points or more."""
    require_kernel_of("phi", phi)
    check_selection_size(size, len(phi))


def check_selection_size(size: int, points: int) -> None:
    """Raise ``ValueError`` unless 1 ≤ size ≤ points."""
    positive_integer("size", size)
    if size > points:
        msg = f"`size`={size} points are asked of {points}: pass a size of at most {points}."
        raise ValueError(msg)
