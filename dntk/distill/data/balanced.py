"""As many points of every class."""

import dataclasses
import itertools
from typing import Any

import numpy as np
from jaxtyping import Int

from dntk import arrays
from dntk._target_checks import check_labels
from dntk.backend import backend_of
from dntk.distill.data.base import DataSelector, Selection
from dntk.distill.data.given import Given, GivenPoints, given_points
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures, require_features
from dntk.types import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Balanced:
    """Points of ``selector``, chosen in every class by itself, as many of each.

    The size is that of ``selector``; where it is no multiple of the number of classes, the first classes have one
    point more. Picks take turns between the classes, so that every beginning is balanced too. The residual trace is
    that of all points chosen so far, of all classes. Weights are the selector's, times the class's share of the data
    over its share of the choice. Points given are given to the choice within their class; features given, to all.

    Parameters
    ----------
    selector
        A selector that is a dataclass with a field ``size``, for example ``RPCholesky(50, seed=0)``.
    labels
        Class of every point, integers (n,).

    Raises
    ------
    TypeError
        The selector's size cannot be changed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, labels = dntk.TangentFeatures(rng.normal(size=(40, 8))), np.arange(40) % 4
    >>> core = dntk.distill.data.Balanced(dntk.distill.data.RPCholesky(8), labels).select(phi)
    >>> np.bincount(labels[core.indices]).tolist()
    [2, 2, 2, 2]
    """

    selector: DataSelector
    labels: Int[Array, " n"]

    def __post_init__(self) -> None:
        known = dataclasses.is_dataclass(self.selector) and not isinstance(self.selector, type)
        if not known or "size" not in {field.name for field in dataclasses.fields(self.selector)}:  # type: ignore[arg-type]
            msg = f"`selector`={self.selector!r}: expected a dataclass with a field `size`, such as RPCholesky(50)."
            raise TypeError(msg)

    @property
    def size(self) -> int:
        """Number of points to choose, of all classes together."""
        return self.selector.size

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, with the residual trace after each pick.

        Raises
        ------
        TypeError, ValueError
            Labels that are no integers or of another number of points; fewer points asked than there are classes; a
            class with fewer points than its share; what the selector raises.
        """
        require_features("phi", phi)
        check_labels("labels", self.labels, points=len(phi))
        known = None if given is None else given_points(given, phi, self.size)
        classes = self._classes(() if known is None else known.positions)
        beside = {name: self._given(given, known, members) for name, (members, _) in classes.items()}
        chosen = {name: self._chosen(phi, members, share, beside[name]) for name, (members, share) in classes.items()}
        turns = itertools.zip_longest(*chosen.values())
        picks = [pair for turn in turns for pair in turn if pair is not None]
        xp, device = arrays.namespace(phi.values), arrays.device_of(phi.values)
        weights = xp.asarray([weight for _, weight in picks], dtype=phi.values.dtype, device=device)
        return picked_in_order(phi, [index for index, _ in picks], weights, given=known)

    def _classes(self, given: Any) -> dict[int, tuple[Any, int]]:
        """Members and number of points to choose of every class."""
        labels = np.asarray(backend_of(self.labels).to_numpy(self.labels))
        names, counts = np.unique(labels, return_counts=True)
        counts = counts - np.asarray([np.sum(labels[np.asarray(given, dtype=int)] == name) for name in names])
        if self.size < len(names):
            msg = (
                f"`size`={self.size} points cannot be balanced over {len(names)} classes: ask for at least one of each."
            )
            raise ValueError(msg)
        each, more = divmod(self.size, len(names))
        classes = {}
        for position, (name, points) in enumerate(zip(names, counts, strict=True)):
            share = each + (position < more)
            if share > points:
                which = "points that are not given" if len(given) else "points"
                msg = (
                    f"class {name} has {points} {which}, but {share} are asked of each class: pass a size of at most "
                    f"{len(names) * int(np.min(counts))}, or choose without balance."
                )
                raise ValueError(msg)
            classes[int(name)] = (np.flatnonzero(labels == name), share)
        return classes

    def _given(self, given: GivenPoints, known: Given | None, members: Any) -> dict[str, Any]:
        """What is given of one class: features as they are, positions among its members."""
        if known is None:
            return {}
        if len(known.positions) == 0:
            return {"given": given}
        within = np.flatnonzero(np.isin(members, known.positions))
        return {"given": within} if len(within) else {}

    def _chosen(self, phi: TangentFeatures, members: Any, share: int, given: dict[str, Any]) -> list[tuple[int, float]]:
        """Positions among all points, and weights."""
        chooser: DataSelector = dataclasses.replace(self.selector, size=share)  # type: ignore[type-var]
        found = chooser.select(phi[members], **given)
        within, weights = (np.asarray(backend_of(a).to_numpy(a)) for a in (found.indices, found.weights))
        scale = (len(members) / len(phi)) / (share / self.size)
        return [(int(members[i]), scale * float(w)) for i, w in zip(within, weights, strict=True)]
