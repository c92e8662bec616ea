"""What every distiller of gradients must satisfy, and the check of distillers of either kind."""

import dataclasses
import math
from collections.abc import Collection
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dntk.arrays import device_of, namespace
from dntk.distill.data.base import DataSelector
from dntk.distill.gradients.base import GradientDistiller
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures
from dntk.testing.allowances import allowance, defect, eps, underflow
from dntk.testing.features import SHAPES, FeatureCase, tangent_features
from dntk.testing.place import Place, host, host64
from dntk.testing.properties import Property, check_properties, require
from dntk.testing.selector_properties import SelectorProperties
from dntk.testing.spectrum_cases import Host, eigenvalues
from dntk.testing.symmetries import SYMMETRIES, Twins, twins
from dntk.types import Array


def check_distiller(
    distiller: GradientDistiller | DataSelector,
    *,
    place: Place | None = None,
    examples: int = 25,
    exempt: Collection[str] = (),
) -> None:
    """Check a distiller of gradients (``distill``) or a selector of points (``select``) over adversarial features.

    Gradients: "protocol", "deterministic", "orthonormal", "values", "interlacing" (Poincaré), "trace bracket"
    Σ_{i>s} λ_i ≤ tr(K − K_Π) ≤ tr K − tr UᵀKU. Points: "protocol", "deterministic", "distinct points", "trace
    residual". Both, on features with well separated spectra: "permutation" of the points, "scaling" of the features by
    powers of two, and another orthonormal "basis" of the features change nothing but in the obvious way, to half the
    digits. A second or two on NumPy.

    Parameters
    ----------
    distiller
        Tells by its protocol which kind it is. One with a ``size`` is tried on at least as many points.
    place
        The arrays that it is tried on; default: NumPy's.
    examples
        Cases per property.
    exempt
        Names of properties that are not asked: for example ``{"permutation"}`` of one that draws positions, or
        ``{"scaling"}`` of one with an absolute ridge.

    Raises
    ------
    TypeError
        It is neither a distiller of gradients nor a selector of points.
    dntk.testing.CheckFailure
        Which properties do not hold, each with the example that falsifies it.

    Examples
    --------
    >>> dntk.testing.check_distiller(dntk.distill.gradients.Principal(3), examples=2)
    >>> dntk.testing.check_distiller(dntk.distill.data.FarthestPoint(3), examples=2)
    """
    here = place or Place.called("numpy")
    if isinstance(distiller, DataSelector):
        properties = SelectorProperties(distiller, here).every()
    elif isinstance(distiller, GradientDistiller):
        properties = _GradientProperties(distiller, here).every()
    else:
        msg = (
            f"`distiller` is a {type(distiller).__name__}: expected one with distill(phi, targets), as of "
            "dntk.distill.gradients, or with select(phi) and size, as of dntk.distill.data."
        )
        raise TypeError(msg)
    check_properties(repr(distiller), properties, examples=examples, exempt=exempt)


def cases_for(subject: Any, place: Place) -> st.SearchStrategy[FeatureCase]:
    """Features of at least as many points as ``subject.size``, alive in at least one output."""
    size = getattr(subject, "size", None) or 1
    shapes = sorted({(c, max(n, size), k) for c, n, k in SHAPES})
    return tangent_features(place, shapes=shapes).filter(lambda case: bool(np.any(case.values)))


@dataclasses.dataclass(frozen=True)
class _GradientProperties:
    distiller: GradientDistiller
    place: Place

    def every(self) -> list[Property]:
        cases = {"case": cases_for(self.distiller, self.place)}
        bracket = "Σ_{i>s} λ_i ≤ tr(K − K_Π) ≤ tr K − tr UᵀKU, and trace_residual is tr(K − K_Π)/tr K"
        stated = [
            ("protocol", "results have the shapes, dtype, device and library that the protocol says", self._protocol),
            ("deterministic", "the same features and targets give the same result, and are not changed", self._same),
            ("orthonormal", "UᵀU = I", self._orthonormal),
            ("values", "values = UᵀΦ and targets = Uᵀy", self._values),
            ("interlacing", "λ_{i+m−s}(K) ≤ λ_i(UᵀKU) ≤ λ_i(K), σ_i(UᵀΦ) ≤ σ_i(Φ)", self._interlacing),
            ("trace bracket", bracket, self._bracket),
        ]
        found = [Property(name=name, statement=what, body=body, strategies=cases) for name, what, body in stated]
        size = getattr(self.distiller, "size", None) or 1
        for name, statement in SYMMETRIES.items():
            strategies = {"pair": twins(name, size, self.place)}
            found.append(Property(name=name, statement=statement, body=self._symmetric, strategies=strategies))
        return found

    def _distil(self, case: FeatureCase) -> DistilledGradients:
        return self.distiller.distill(case.phi(self.place), case.y(self.place))

    def _protocol(self, case: FeatureCase) -> None:
        grads, phi = self._distil(case), case.phi(self.place)
        require(isinstance(grads, DistilledGradients), f"distill returns a {type(grads).__name__}")
        (c, m, k), s = case.shape, grads.size
        asked = getattr(self.distiller, "size", None)
        require(1 <= s <= m, f"{s} gradients of {m} points")
        require(asked is None or s <= asked, f"{s} gradients, {asked} were asked for")
        require(tuple(grads.directions.shape) in ((m, s), (c, m, s)), f"directions {tuple(grads.directions.shape)}")
        expected = {"values": (c, s, k), "targets": (c, s), "basis": (c, s, k), "projected": (c, m, s)}
        for name, shape in expected.items():
            _require_like(name, getattr(grads, name), shape, phi.values)
        require(0 <= grads.gap <= 1, f"the coverage gap is {grads.gap}")
        require(0 <= grads.trace_residual <= 1, f"the trace residual is {grads.trace_residual}")

    def _same(self, case: FeatureCase) -> None:
        values, y = self.place.array(case.values), case.y(self.place)
        first = self.distiller.distill(TangentFeatures(values), y)
        require(np.array_equal(host(values), case.values), "distill changes the features")
        require(np.array_equal(host(y), case.targets), "distill changes the targets")
        again = self._distil(case)
        require(np.array_equal(host(first.directions), host(again.directions)), "a second call gives other directions")

    def _parts(self, case: FeatureCase) -> tuple[DistilledGradients, Host]:
        grads = self._distil(case)
        directions = host64(grads.directions)
        return grads, np.broadcast_to(directions, (case.shape[0], *directions.shape[-2:]))

    def _orthonormal(self, case: FeatureCase) -> None:
        for u in self._parts(case)[1]:
            eta = defect(u)
            require(eta <= 8 * eps(case.dtype) * case.shape[1], f"‖UᵀU − I‖ = {eta:.3g}")

    def _values(self, case: FeatureCase) -> None:
        grads, u = self._parts(case)
        turned, m = u.transpose(0, 2, 1), case.shape[1]
        y = case.wide_targets.T[:, :, None]
        for name, found, right in (
            ("values", host64(grads.values), case.wide),
            ("targets", host64(grads.targets)[:, :, None], y),
        ):
            slack = 2 * m * eps(case.dtype) * (np.abs(turned) @ np.abs(right)) + underflow(m, case.dtype)
            worst = float(np.max(np.abs(found - turned @ right) - slack))
            require(worst <= 0, f"{name} differ from the combinations along the directions by {worst:.3g} too much")

    def _interlacing(self, case: FeatureCase) -> None:
        grads, directions = self._parts(case)
        m = case.shape[1]
        for kernel, phi, u, values in zip(case.kernels, case.wide, directions, host64(grads.values), strict=True):
            s, eta, norm = u.shape[1], defect(u), float(np.linalg.norm(phi, 2)) ** 2
            whole = eigenvalues(kernel)
            kept = np.concatenate([np.linalg.svd(values, compute_uv=False) ** 2, np.zeros(s)])[:s]
            slack = eta * norm + allowance("I1", case.dtype, case.size, norm)
            require(np.all(kept <= whole[:s] + slack), f"λ(UᵀKU) = {kept} exceeds λ(K) = {whole[:s]}")
            require(np.all(kept >= whole[m - s :] - slack), f"λ(UᵀKU) = {kept} is below λ(K) = {whole[m - s :]}")
            singular = np.linalg.svd(phi, compute_uv=False)
            longest = np.sqrt(kept[: len(singular)])
            slack = eta * math.sqrt(norm) + allowance("I1'", case.dtype, case.size, math.sqrt(norm))
            require(np.all(longest <= singular[: len(longest)] + slack), f"σ(UᵀΦ) = {longest} exceeds {singular}")

    def _bracket(self, case: FeatureCase) -> None:
        grads, directions = self._parts(case)
        lost, total, slacks = 0.0, 0.0, 0.0
        for kernel, phi, u, values in zip(case.kernels, case.wide, directions, host64(grads.values), strict=True):
            trace, s = float(np.sum(phi**2)), u.shape[1]
            slack = allowance("H1", case.dtype, case.size, trace) + s * defect(u) * trace
            residual = _residual(phi, values, case.dtype)
            tail = float(np.sum(np.clip(eigenvalues(kernel)[s:], 0, None)))
            missed = trace - float(np.sum(values**2))
            require(residual >= tail - slack, f"tr(K − K_Π) = {residual:.9g} is below the tail {tail:.9g}")
            require(residual <= missed + slack, f"tr(K − K_Π) = {residual:.9g} exceeds tr K − tr UᵀKU = {missed:.9g}")
            lost, total, slacks = lost + residual, total + trace, slacks + slack
        told = grads.trace_residual * total
        require(abs(told - lost) <= slacks, f"trace_residual says {told:.9g}, tr(K − K_Π) is {lost:.9g}")

    def _symmetric(self, pair: Twins) -> None:
        first, second = (self._distil(case) for case in (pair.case, pair.twin))
        spans = [host64(grads.directions) for grads in (first, second)]
        products = [u @ np.swapaxes(u, -1, -2) for u in spans]
        require(products[0].shape == products[1].shape, f"directions {spans[0].shape} become {spans[1].shape}")
        moved = products[0][..., pair.order, :][..., pair.order]
        difference = float(np.max(np.linalg.norm(moved - products[1], 2, axis=(-2, -1))))
        require(difference <= pair.tolerance, f"the projector on the directions changes by {difference:.3g}")
        change = abs(first.trace_residual - second.trace_residual)
        require(change <= pair.tolerance, f"the trace residual changes by {change:.3g}")


def _require_like(name: str, array: Array, shape: tuple[int, ...], like: Array) -> None:
    require(tuple(array.shape) == shape, f"`{name}` has shape {tuple(array.shape)}, expected {shape}")
    require(array.dtype == like.dtype, f"`{name}` is {array.dtype}, the features are {like.dtype}")
    require(namespace(array) is namespace(like), f"`{name}` belongs to another library than the features")
    require(
        device_of(array) == device_of(like), f"`{name}` is on {device_of(array)}, the features on {device_of(like)}"
    )


def _residual(phi: Host, values: Host, dtype: str) -> float:
    """tr(K − K_Π), Π from the rows of the synthetic gradients themselves."""
    scale = float(np.linalg.norm(values, 2)) or 1.0
    _, singular, rows = np.linalg.svd(values / scale, full_matrices=False)
    rows = rows[singular > max(values.shape) * eps(dtype)]
    return float(np.sum((phi - phi @ rows.T @ rows) ** 2))
