"""Attribution of predictions to training points: what to do, and doing it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import require_kind
from dntk._foreign import require_plain_array
from dntk.attribution.fit import AttributionFit, Judge
from dntk.attribution.functionals import Functional, Margins
from dntk.attribution.smoother import Smoother, smoother, smoother_in_span
from dntk.distill.gradients.base import GradientDistiller, require_kernel
from dntk.features import TangentFeatures, require_features, tangent_features
from dntk.models.base import Model, checked_inputs, outputs_of, require_model
from dntk.sketch.resolution import AnySketch
from dntk.solve.choice import check_ridge
from dntk.solve.rules import Relative, feature_ridge
from dntk.types import Array, Inputs


@dataclasses.dataclass(frozen=True, init=False)
class Attribution:
    """Scores of training points for predictions: K(x, X)(K + λI)⁻¹ of a functional's gradients, times each one's pull.

    The score of point i for query x is h_i(x)·q_i, with h the smoother of the kernel of the functional's tangent
    features and q_i how strongly the training loss of i pulls on it, as in TRAK, but at the exact kernel where the
    sketch keeps everything, with a ridge. Of several models, for example checkpoints or retrainings, h and q are
    averaged one by one.

    Parameters
    ----------
    models
        From :func:`dntk.as_model`, one or several of the same task: averaging is the largest gain there is.
    sketch
        As for :func:`dntk.tangent_features`; ``None``: all parameters, the exact kernel.
    ridge
        λ, or ``dntk.solve.Relative``: in units of the kernel's mean diagonal.
    functional
        :class:`Margins` of the labels, or :class:`Losses`.
    gradients
        A distiller, for example ``dntk.distill.gradients.Principal(100)``: of every training point s numbers are kept
        in place of k, and :meth:`AttributionFit.errors` bounds what that changed.
    memory_limit
        As for :func:`dntk.tangent_features`.

    Notes
    -----
    Features are those of one output, (n, k) a model. Sources: Park and others, *TRAK*, ICML 2023; Koh and Liang 2017.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> train = dntk.outputs.labelled(x, dntk.metrics.predicted_labels(model(x)))
    >>> fit = dntk.attribution.Attribution(model, ridge=1.0).fit(train)
    >>> queries = train.take(np.arange(5))
    >>> fit.scores(queries).shape, fit.top(queries, 3).indices.shape
    ((5, 40), (5, 3))
    """

    models: tuple[Model, ...]
    sketch: AnySketch
    ridge: "float | Relative"
    functional: Functional
    gradients: GradientDistiller | None
    memory_limit: int | None

    def __init__(
        self,
        models: Model | Sequence[Model],
        *,
        sketch: AnySketch = "auto",
        ridge: "float | Relative" = Relative(0.1),  # noqa: B008 - a frozen value
        functional: Functional | None = None,
        gradients: GradientDistiller | None = None,
        memory_limit: int | None = None,
    ) -> None:
        several = tuple(models) if isinstance(models, list | tuple) else (models,)
        if not several:
            msg = "`models` is empty: pass one model or several, from dntk.as_model."
            raise ValueError(msg)
        functional = Margins() if functional is None else functional
        require_kind("functional", functional, Functional, expected="Margins() or Losses()")
        if gradients is not None:
            require_kind("gradients", gradients, GradientDistiller, expected="a distiller, as Principal(100), or None")
        values = {
            "models": tuple(require_model(model, "models") for model in several),
            "sketch": sketch,
            "ridge": ridge if isinstance(ridge, Relative) else check_ridge(ridge),
            "functional": functional,
            "gradients": gradients,
            "memory_limit": memory_limit,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def fit(self, train: Inputs) -> AttributionFit:
        """Scores of these training points, for any queries.

        Parameters
        ----------
        train
            Inputs with their labels, ``dntk.outputs.labelled(x, y)``.

        Raises
        ------
        TypeError, ValueError
            Inputs without labels, or that a model does not take; a sketch bound to another number of parameters; a
            system that is singular at this ridge.

        Notes
        -----
        For every model one Jacobian of one output, and O(n·k·min(n, k)).
        """
        functionals = [self.functional.of(model) for model in self.models]
        features = [self._features(model, train) for model in functionals]
        pulls = [self.functional.pulls(outputs_of(m, checked_inputs(m, train, "train"))) for m in functionals]
        return self._fitted(features, pulls, functionals)

    def fit_features(self, features: Sequence[TangentFeatures], pulls: Sequence[Float[Array, " n"]]) -> AttributionFit:
        """The same from features that were made before, those of one output of every model, and the points' pulls.

        Queries are then inputs with labels, or the list of their features, made with the same sketches.

        Raises
        ------
        TypeError, ValueError
            Another number of features than models; features of several outputs, or of other points; a pull that is
            not finite.
        """
        if len(features) != len(self.models) or len(pulls) != len(self.models):
            msg = (
                f"`features` has {len(features)} entries and `pulls` {len(pulls)}, but there are {len(self.models)} "
                "models: pass one of each for every model."
            )
            raise ValueError(msg)
        for phi, pull in zip(features, pulls, strict=True):
            _check(phi, pull, points=len(features[0]))
        return self._fitted(features, pulls, [self.functional.of(model) for model in self.models])

    def _features(self, functional: Model, x: Inputs) -> TangentFeatures:
        return tangent_features(functional, x, sketch=self.sketch, memory_limit=self.memory_limit)

    def _fitted(
        self, features: Sequence[TangentFeatures], pulls: Sequence[Array], models: list[Model]
    ) -> AttributionFit:
        xp = arrays.namespace(pulls[0])
        judges = tuple(
            Judge(model=model, sketch=phi.sketch, dim=phi.dim, smoother=self._smoother(phi, pull))
            for model, phi, pull in zip(models, features, pulls, strict=True)
        )
        pull = xp.mean(xp.stack([xp.astype(q, pulls[0].dtype, copy=False) for q in pulls]), axis=0)
        return AttributionFit(judges=judges, pulls=pull, memory_limit=self.memory_limit)

    def _smoother(self, phi: TangentFeatures, pull: Float[Array, " n"]) -> Smoother:
        xp, values = arrays.namespace(phi.values), phi.values
        require_kernel(phi)
        targets = xp.astype(pull, values.dtype, copy=False)[:, None]
        ridge = feature_ridge(self.ridge, values, targets)
        if self.gradients is not None:
            return smoother_in_span(values, self.gradients.distill(phi, targets).basis, ridge)
        made = smoother(values, ridge)
        return dataclasses.replace(made, rows=xp.astype(made.rows, values.dtype, copy=False))


def _check(phi: Any, pull: Array, *, points: int) -> None:
    require_features("features", phi)
    require_plain_array("pulls", pull)
    if phi.n_outputs != 1 or len(phi) != points:
        msg = (
            f"`features` has {phi.n_outputs} outputs of {len(phi)} points: expected one output of the same {points} "
            "points for every model, as tangent_features(functional.of(model), train) has."
        )
        raise ValueError(msg)
    if tuple(pull.shape) != (points,):
        msg = f"`pulls` has shape {tuple(pull.shape)}: expected one number for each of the {points} points."
        raise ValueError(msg)
    arrays.require_same_place(features=phi.values, pulls=pull)
    arrays.require_floating("pulls", pull)
    arrays.require_finite("pulls", pull)
