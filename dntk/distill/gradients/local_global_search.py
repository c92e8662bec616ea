"""Choice of Algorithm 1's thresholds and clusters on validation points."""

import dataclasses

from jaxtyping import Float

from dntk._progress import task
from dntk._target_checks import check_targets
from dntk.distill.gradients.local_global import LocalGlobal
from dntk.distill.gradients.partition import Partition
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures
from dntk.metrics import fidelity, mean_squared_error
from dntk.solve._ridge import ridge as solve_ridge
from dntk.solve.rules import Ridge, feature_ridge
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalGlobalTrial:
    """One configuration and what its regression (the paper's, on s gradients and s targets) does on validation points.

    Parameters
    ----------
    distiller
        The configuration.
    size
        Number s of gradients that it gives.
    mse
        Mean squared error against the validation targets.
    fidelity
        Share of validation points of the same class as the targets'.
    """

    distiller: LocalGlobal
    size: int
    mse: float
    fidelity: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalGlobalChoice:
    """The configuration of least validation error, its gradients, and the table of all of them in the order tried."""

    distiller: LocalGlobal
    gradients: DistilledGradients
    trials: tuple[LocalGlobalTrial, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalGlobalSearch:
    """Every combination of (τ_v, τ_g, H), compared on validation points; test points have no place here.

    Eigenpairs are computed once, clusters once for every H.

    Parameters
    ----------
    variances, coverages
        τ_v and τ_g to try, each in (0, 1].
    clusters
        H to try.
    size
        A budget for all of them, as in :class:`LocalGlobal`; ``None``: s follows from the thresholds.
    seed
        Of the clustering.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> search = dntk.distill.gradients.LocalGlobalSearch(
    ...     variances=(0.8, 0.95), coverages=(0.9,), clusters=(2,)
    ... )
    >>> choice = search.select(phi[:30], y[:30], phi[30:], y[30:], ridge=1.0)
    >>> len(choice.trials), choice.distiller.variance in (0.8, 0.95)
    (2, True)
    """

    variances: tuple[float, ...] = (0.8, 0.9, 0.95, 0.99)
    coverages: tuple[float, ...] = (0.5, 0.9)
    clusters: tuple[int, ...] = (2, 3, 5, 10)
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("variances", "coverages", "clusters"):
            if not getattr(self, name):
                msg = f"`{name}` is empty: pass at least one value to try."
                raise ValueError(msg)

    def select(
        self,
        phi: TangentFeatures,
        targets: Float[Array, "m c"],
        validation: TangentFeatures,
        validation_targets: Float[Array, "v c"],
        *,
        ridge: Ridge = "loo",
    ) -> LocalGlobalChoice:
        """Try all configurations; the first of equal ones is chosen.

        Parameters
        ----------
        phi, targets
            Features and targets of the points to distil.
        validation, validation_targets
            Features, by the same sketch, and targets of other points.
        ridge
            λ of every regression, chosen on the features of ``phi`` where it is not a number.

        Raises
        ------
        ValueError
            Settings outside their range, features that are not comparable, targets of other shapes, a budget larger
            than the number of points.
        """
        phi.require_comparable(validation, "validation")
        truth = check_targets(validation_targets, phi.values, points=len(validation), outputs=phi.n_outputs)
        y = check_targets(targets, phi.values, points=len(phi), outputs=phi.n_outputs)
        chosen = feature_ridge(ridge, phi.values, y)
        # The highest threshold needs the most eigenpairs: the others use the first of them.
        spectrum = LocalGlobal(variance=max(self.variances), size=self.size).spectrum(phi)
        partitions: dict[int, Partition] = {}
        trials, best = [], None
        grid = self._grid()
        with task("configurations", total=len(grid), unit="trials") as bar:
            for distiller in bar.over(grid):
                grads = distiller.distill_in(spectrum, y, partitions)
                predicted = solve_ridge(grads, ridge=chosen).predict(validation)
                trial = LocalGlobalTrial(
                    distiller=distiller,
                    size=grads.size,
                    mse=mean_squared_error(predicted, truth),
                    fidelity=fidelity(predicted, truth),
                )
                trials.append(trial)
                if best is None or trial.mse < best[0].mse:
                    best = (trial, grads)
        assert best is not None
        return LocalGlobalChoice(distiller=best[0].distiller, gradients=best[1], trials=tuple(trials))

    def _grid(self) -> list[LocalGlobal]:
        return [
            LocalGlobal(variance=variance, coverage=coverage, clusters=clusters, size=self.size, seed=self.seed)
            for clusters in self.clusters
            for variance in self.variances
            for coverage in self.coverages
        ]
