"""Points that are there already: what a choice of more takes into account."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int

from dntk import arrays
from dntk._checks import kind_of
from dntk.backend import backend_of
from dntk.distill.data.base import Selection, check_selection
from dntk.features import TangentFeatures
from dntk.random import moved
from dntk.types import Array

GivenPoints: TypeAlias = TangentFeatures | Selection | Int[Array, " g"] | Bool[Array, " n"] | Sequence[int] | None
"""Points that are there already: positions among those to choose from, a mask of them, or features of other points."""


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """Points that are there already.

    Parameters
    ----------
    positions
        Where they are among the points to choose from, on the host; none where they are features of other points.
    rows
        Their features F with K̄ = F Fᵀ, in float64 where the device has it.
    points
        Number n of points to choose from, which says what is rounding.
    """

    positions: npt.NDArray[np.int64]
    rows: Float[Array, "g d"]
    points: int

    @functools.cached_property
    def axes(self) -> tuple[Float[Array, "r d"], Float[Array, " r"]]:
        """Orthonormal rows V and s² > 0 with FᵀF = Vᵀ diag(s²) V, without s² ≤ n · eps · max ‖f‖², which is rounding.

        O(g · d · min(g, d)).
        """
        xp = arrays.namespace(self.rows)
        largest = float(xp.max(xp.abs(self.rows)))
        if largest == 0:
            return self.rows[:0, :], self.rows[:0, 0]
        _, singular, turn = xp.linalg.svd(self.rows / largest, full_matrices=False)
        most = float(xp.max(xp.sum((self.rows / largest) ** 2, axis=1)))
        held = int(xp.sum(xp.astype(singular**2 > self.points * arrays.epsilon(singular) * most, xp.int32)))
        return turn[:held, :], (singular[:held] * largest) ** 2

    def left(self, rows: Float[Array, "b d"], ridge: float = 0.0) -> Float[Array, "b d"]:
        """What they leave of features: inner products of the results are the kernel given these points.

        K̄(x, x') − K̄(x, G) (K̄(G, G) + λI)⁻¹ K̄(G, x') for λ = ``ridge``: f (FᵀF/λ + I)^(−1/2), and of λ = 0 the part
        outside the span.
        """
        xp = arrays.namespace(rows)
        axes, squares = self.axes
        # 1 − √(λ/(s² + λ)) without cancellation
        taken = squares / (squares + ridge) / (1 + xp.sqrt(ridge / (squares + ridge)))
        found = rows - ((rows @ axes.T) * taken) @ axes
        return found if ridge else found - (found @ axes.T) @ axes  # twice, as rounding asks for

    def mask(self, like: Array) -> Bool[Array, " n"]:
        """Which of the points to choose from are given, where ``like`` is."""
        mask = np.zeros(self.points, dtype=bool)
        mask[self.positions] = True
        return moved(mask, like)


def given_points(given: GivenPoints, phi: TangentFeatures, size: int) -> Given | None:
    """The points given, checked, with a choice of ``size`` others among the points of ``phi``; None where none are.

    Raises
    ------
    TypeError
        Neither features, nor a selection, positions or a mask.
    ValueError, IndexError
        A point named twice, or none of these; features by another sketch or of other sizes; fewer points left than
        ``size``.
    """
    check_selection(size, phi)
    if given is None:
        return None
    if isinstance(given, TangentFeatures):
        phi.require_comparable(given, "given")
        return Given(np.zeros(0, dtype=np.int64), arrays.in_float64(given.joined()), len(phi))
    positions = _positions(given, phi)
    if len(positions) == 0:
        return None
    if size > len(phi) - len(positions):
        msg = (
            f"`size`={size} points are asked of {len(phi)}, of which {len(positions)} are `given`: pass a size of at "
            f"most {len(phi) - len(positions)}."
        )
        raise ValueError(msg)
    return Given(positions, arrays.in_float64(phi[positions].joined()), len(phi))


def _positions(given: Any, phi: TangentFeatures) -> npt.NDArray[np.int64]:
    indices = given.indices if isinstance(given, Selection) else given
    if not isinstance(indices, list | tuple | range) and not hasattr(indices, "shape"):
        msg = (
            f"`given` is {kind_of(given)}: pass positions of points, a mask, the Selection that chose them, or "
            "TangentFeatures of points that are not among these."
        )
        raise TypeError(msg)
    indices = list(indices) if isinstance(indices, range) else indices
    shape = indices.shape if hasattr(indices, "shape") else (len(indices),)
    if 0 in shape:
        return np.zeros(0, dtype=np.int64)
    if "bool" in str(getattr(indices, "dtype", "")) and shape == (len(phi),) and not bool(np.any(_on_host(indices))):
        return np.zeros(0, dtype=np.int64)
    try:
        found = _on_host(phi.positions(indices)).astype(np.int64)
    except (TypeError, ValueError, IndexError) as error:
        raise type(error)(str(error).replace("`points`", "`given`", 1)) from error
    names, times = np.unique(found, return_counts=True)
    if np.any(times > 1):
        msg = f"`given` names point {names[np.argmax(times > 1)]} {np.max(times)} times: pass every point once."
        raise ValueError(msg)
    return found


def _on_host(x: Any) -> npt.NDArray[Any]:
    return np.asarray(x) if isinstance(x, np.ndarray | list | tuple) else np.asarray(backend_of(x).to_numpy(x))
