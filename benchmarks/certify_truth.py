"""Certificates against the truth by dense kernels in float64."""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence

import numpy as np
from certify_scenes import Scene
from measure import timed
from numpy.typing import NDArray

from dntk import Certificate, certify
from dntk.distill.gradients import Principal, Solution
from dntk.distilled_gradients import DistilledGradients
from dntk.solve import ridge, same_span

Matrix = NDArray[np.float64]
ROUNDING = 1e3 * float(np.finfo(np.float64).eps)
"""Relative to the kernel: what the dense computation itself may be wrong by."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One certificate against the truth.

    True excess objective over the certified one (the median over outputs), the widest of the ten leading intervals
    relative to its eigenvalue, statements that are false, and seconds over those of the features.
    """

    data: str
    network: str
    seed: int
    method: str
    size: int
    energy_ratio: float
    interval_width: float
    violations: int
    statements: int
    cost: float
    features_s: float
    certificate_s: float


def measured(scene: Scene, sizes: Sequence[int], *, repeats: int) -> Iterator[Measured]:
    """Certificates of principal and solution directions of these sizes, at the ridge of leave-one-out."""
    chosen = ridge(scene.phi, scene.targets, ridge="loo").ridge
    truth = Truth.of(scene, chosen)
    features_s = statistics.median(scene.features_again() for _ in range(repeats))
    for size in sizes:
        for distiller in (Principal(size), Solution(size, ridge=chosen, iterations=5)):
            grads = distiller.distill(scene.phi, scene.targets)

            def work(grads: DistilledGradients = grads) -> Certificate:
                return certify(scene.phi, grads, scene.targets, chosen)

            certificate = work()
            certificate_s = statistics.median(timed(work) for _ in range(repeats))
            ratio, width, wrong = truth.against(certificate, grads)
            yield Measured(
                data=scene.data,
                network=scene.network,
                seed=scene.seed,
                method=type(distiller).__name__,
                size=size,
                energy_ratio=ratio,
                interval_width=width,
                violations=sum(wrong),
                statements=len(wrong),
                cost=certificate_s / features_s,
                features_s=features_s,
                certificate_s=certificate_s,
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """Features (C, n, k) and targets in float64, eigenvalues of the mean kernel, and the exact regression's weights."""

    values: Matrix
    targets: Matrix
    ridge: float
    eigenvalues: Matrix
    weights: Matrix

    @staticmethod
    def of(scene: Scene, chosen: float) -> "Truth":
        """By dense solves and eigenvalues."""
        values = scene.phi.values.numpy().astype(np.float64)
        targets = scene.targets.numpy().astype(np.float64)
        kernels = values @ values.transpose(0, 2, 1)
        duals = np.linalg.solve(kernels + chosen * np.eye(values.shape[1]), targets.T[:, :, None])
        return Truth(
            values=values,
            targets=targets,
            ridge=chosen,
            eigenvalues=np.linalg.eigvalsh(kernels.mean(axis=0))[::-1],
            weights=(values.transpose(0, 2, 1) @ duals)[:, :, 0],
        )

    def against(self, certificate: Certificate, grads: DistilledGradients) -> tuple[float, float, list[bool]]:
        """Ratio of energies, width of intervals, and for every statement whether it is false."""
        energies, distances = self._errors(grads)
        certified = certificate.energy_error.value.numpy()
        lower, upper = (end.numpy() for end in certificate.eigenvalue_intervals)
        slack = ROUNDING * self.eigenvalues[0]
        exact = self.eigenvalues[: len(lower)]
        _, singular, basis = np.linalg.svd(grads.basis.numpy().astype(np.float64), full_matrices=False)
        basis = basis * (singular > 0.5)[:, :, None]  # its rows are orthonormal, but for float32, or zero
        outside = self.values - (self.values @ basis.transpose(0, 2, 1)) @ basis
        residual = (outside @ outside.transpose(0, 2, 1)).mean(axis=0)
        wrong = [
            *(energies > certified * (1 + 1e-9)),
            *(distances > certificate.prediction_error.value.numpy() * (1 + 1e-9)),
            *(lower > exact + slack),
            *(upper < exact - slack),
            np.trace(residual) > float(certificate.trace_error) + slack,
            np.linalg.norm(residual, 2) > float(certificate.spectral_error) + slack,
            np.linalg.norm(residual) > float(certificate.frobenius_error) + slack,
        ]
        width = float(np.max((upper[:10] - lower[:10]) / self.eigenvalues[:10]))
        return float(np.median(energies / certified)), width, [bool(one) for one in wrong]

    def _errors(self, grads: DistilledGradients) -> tuple[Matrix, Matrix]:
        """Excess objectives and root mean square distances (C,), the larger of both predictors in the span."""
        energies, distances = [], []
        for fit in (ridge(grads, ridge=self.ridge), same_span(grads, ridge=self.ridge)):
            apart = fit.weights.numpy().astype(np.float64) - self.weights
            fits = np.einsum("cnk,ck->cn", self.values, apart)
            energies.append(np.sum(fits**2, axis=1) + self.ridge * np.sum(apart**2, axis=1))
            distances.append(np.sqrt(np.mean(fits**2, axis=1)))
        return np.max(energies, axis=0), np.max(distances, axis=0)
