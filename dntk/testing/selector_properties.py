"""What every selector of points (coreset) must satisfy."""

import dataclasses
import inspect

import numpy as np
from hypothesis import strategies as st

from dntk.arrays import device_of, namespace
from dntk.distill.data.base import DataSelector, Selection
from dntk.features import TangentFeatures
from dntk.testing.allowances import allowance, eps
from dntk.testing.features import SHAPES, FeatureCase, tangent_features
from dntk.testing.place import Place, host, host64
from dntk.testing.properties import Property, require
from dntk.testing.spectrum_cases import Host
from dntk.testing.symmetries import SYMMETRIES, Twins, twins


@dataclasses.dataclass(frozen=True)
class SelectorProperties:
    """The properties of a selector at a place."""

    selector: DataSelector
    place: Place

    def every(self) -> list[Property]:
        """All of them."""
        cases: dict[str, st.SearchStrategy[FeatureCase]] = {"case": self._cases()}
        residual = "residual_trace falls, from at most tr K̄, and is tr(K̄ − K̄_Nyström) after each pick"
        stated = [
            ("protocol", "results have the shapes, device and library that the protocol says", self._protocol),
            ("deterministic", "the same features give the same points, and are not changed", self._same),
            ("distinct points", "as many different points as were asked for", self._distinct),
            ("trace residual", residual, self._residual),
        ]
        if "given" in inspect.signature(self.selector.select).parameters:
            stated.append(("given points", "points given are not chosen again, and leave less", self._given))
        found = [Property(name=name, statement=what, body=body, strategies=cases) for name, what, body in stated]
        for name, statement in SYMMETRIES.items():
            strategies = {"pair": twins(name, self.selector.size, self.place)}
            said = statement.replace("directions", "points")
            found.append(Property(name=name, statement=said, body=self._symmetric, strategies=strategies))
        return found

    def _cases(self) -> st.SearchStrategy[FeatureCase]:
        """Outputs number 1 or 4, so that the scaling 1/√C of the joined features is exact."""
        shapes = sorted({(c, max(n, self.selector.size), k) for c, n, k in SHAPES if c in (1, 4)})
        return tangent_features(self.place, shapes=shapes).filter(lambda case: bool(np.any(case.values)))

    def _select(self, case: FeatureCase) -> tuple[Selection, list[int]]:
        selection = self.selector.select(case.phi(self.place))
        return selection, [int(i) for i in host(selection.indices)]

    def _protocol(self, case: FeatureCase) -> None:
        selection, like = self._select(case)[0], self.place.array(case.values)
        require(isinstance(selection, Selection), f"select returns a {type(selection).__name__}")
        size = (self.selector.size,)
        for name in ("indices", "weights", "residual_trace"):
            array = getattr(selection, name)
            require(tuple(array.shape) == size, f"`{name}` has shape {tuple(array.shape)}, expected {size}")
            require(namespace(array) is namespace(like), f"`{name}` belongs to another library than the features")
            require(device_of(array) == device_of(like), f"`{name}` is on another device than the features")
        require(namespace(like).isdtype(selection.indices.dtype, "integral"), "`indices` are not integers")
        weights = host64(selection.weights)
        require(np.all(np.isfinite(weights)) and np.all(weights >= 0), f"weights are {weights}")

    def _same(self, case: FeatureCase) -> None:
        values = self.place.array(case.values)
        first = host(self.selector.select(TangentFeatures(values)).indices)
        require(np.array_equal(host(values), case.values), "select changes the features")
        again = host(self._select(case)[0].indices)
        require(np.array_equal(first, again), f"{first} at first, then {again}")

    def _distinct(self, case: FeatureCase) -> None:
        _, indices = self._select(case)
        require(len(indices) == self.selector.size, f"{len(indices)} points, {self.selector.size} were asked for")
        require(all(0 <= i < case.shape[1] for i in indices), f"points {indices} of {case.shape[1]}")
        require(len(set(indices)) == len(indices), f"points {indices} repeat")

    def _given(self, case: FeatureCase) -> None:
        """Beside the last points, as many as can be spared."""
        points = case.shape[1]
        given = list(range(max(self.selector.size, points - 3), points))
        selection = self.selector.select(case.phi(self.place), given=given)
        indices = [int(i) for i in host(selection.indices)]
        require(len(indices) == self.selector.size, f"{len(indices)} points, {self.selector.size} were asked for")
        require(len({*indices, *given}) == len(indices) + len(given), f"points {indices} beside {given}")
        limit = self._limit(case, given)
        left = host64(selection.residual_trace)
        require(np.all(left <= limit), f"residual_trace is {left}, the points given leave {limit}")

    def _limit(self, case: FeatureCase, given: list[int]) -> float:
        """What given points leave at most, of those before the first whose pivot may be noise, see `_residual`."""
        joined, computed = case.joined, self.place.dtypes[-1]
        trace = float(np.sum(joined**2))
        exact, pivots = _traces(joined, given)
        noise = case.shape[1] * eps(computed) * float(np.max(np.sum(joined**2, axis=1)))
        used = pivots > 4 * noise
        sure = len(given) if np.all(used) else int(np.argmin(used))
        if sure == 0:
            return trace + allowance("N7", computed, case.size, trace)
        before = np.concatenate([[trace], exact[: sure - 1]])
        unsure = float(np.sum(4 * noise / pivots[:sure] * before))
        return float(exact[sure - 1]) + unsure + allowance("N7", computed, case.size, trace)

    def _residual(self, case: FeatureCase) -> None:
        """Near the noise ν = n·eps·max K̄_ii a pivot of residual d is known to ν/d only; below, it removes nothing."""
        selection, indices = self._select(case)
        joined, n, told = case.joined, case.shape[1], host64(selection.residual_trace)
        computed = self.place.dtypes[-1]
        trace = float(np.sum(joined**2))
        slack = allowance("N5", computed, case.size, trace)
        require(abs(selection.trace - trace) <= slack, f"trace is {selection.trace:.9g}, tr K̄ is {trace:.9g}")
        require(np.all(told >= 0), f"residual_trace {told} is negative")
        limits = np.concatenate([[trace + slack], told[:-1]]) * (1 + n * eps(computed) + eps(case.dtype))
        require(np.all(told <= limits + eps(case.dtype) * told), f"residual_trace {told} rises (tr K̄ = {trace:.9g})")
        exact, pivots = _traces(joined, indices)
        noise = n * eps(computed) * float(np.max(np.sum(joined**2, axis=1)))
        before = np.concatenate([[trace], exact[:-1]])
        slack_each = allowance("N7", computed, case.size, trace) + eps(case.dtype) * exact
        used = pivots > 4 * noise
        unsure = np.cumsum(np.where(used, 4 * noise / np.where(used, pivots, 1), 0) * before)
        low = told >= exact - slack_each - unsure
        sure = np.cumprod(used | (before <= noise)).astype(bool)
        high = (told <= exact + slack_each + unsure) | ~sure
        require(np.all(low & high), f"residual_trace is {told}, tr(K̄ − K̄_Nyström) is {exact}")

    def _symmetric(self, pair: Twins) -> None:
        first, second = (self._select(case)[1] for case in (pair.case, pair.twin))
        moved = [int(pair.order[i]) for i in second]
        require(moved == first, f"points {first} become {moved}")


def _traces(joined: Host, indices: list[int]) -> tuple[Host, Host]:
    """Traces of the residual after each pick, and each pivot's own before it, by projections in float64."""
    rest, traces, pivots = joined.copy(), [], []
    lengths = np.linalg.norm(joined, axis=1)
    for index in indices:
        row = rest[index]
        left = float(np.linalg.norm(row))
        pivots.append(left**2)
        # Rows that depend on earlier ones up to rounding are left out: noise must not add a direction.
        if left > 1e-13 * max(8, joined.shape[1]) * lengths[index]:
            for _ in range(2):
                rest = rest - np.outer(rest @ (row / left), row / left)
        traces.append(float(np.sum(rest**2)))
    return np.array(traces), np.array(pivots)
