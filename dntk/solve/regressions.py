"""What a fit regresses on: each output for itself, all outputs of a point together, or one functional of each point.

The linearised network f(x) + ⟨∇f(x), w⟩ has one parameter vector w for all outputs. C separate regressions give each
output one of its own, which sees that output's rows alone.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep
from dntk._target_checks import check_targets
from dntk.features import TangentFeatures, require_features
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs import functional, labelled
from dntk.outputs.inputs import Labelled
from dntk.random import WORDS_PER_COUNTER, drawing_dtype, moved, normals
from dntk.types import Array, Inputs


@runtime_checkable
class Regression(Protocol):
    """What is regressed on what: rows of features, g independent problems of them."""

    @property
    def of_outputs(self) -> bool:
        """Whether features of all outputs are made, and not of something else."""

    def problems(self, outputs: int) -> int:
        """Number g of independent problems for C outputs: C, or one."""

    def functionals(self, outputs: int) -> int:
        """Number of functionals of a point whose features are made: Jacobian rows per point."""

    def differentiated(self, model: Model, x: Inputs) -> tuple[Model, Inputs]:
        """The model whose features at what inputs are needed for the points ``x``."""

    def rows(
        self, features: TangentFeatures, targets: Float[Array, "m c"]
    ) -> tuple[TangentFeatures, Float[Array, "r g"]]:
        """Features of those (g, r, k), and what they are regressed on."""


@dataclasses.dataclass(frozen=True)
class Separate:
    """Each output is regressed on its own rows: C problems of m rows, :func:`dntk.solve.ridge`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(8, 3)), rng.normal(size=(4, 8))
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(12, 3))
    >>> fit = dntk.DistilledNTK(model, regression=dntk.solve.Separate()).fit(x)  # as without it
    >>> fit.ledger["features"].jacobian_rows, fit.certificate.points, fit.certificate.outputs
    (48, 12, 4)
    """

    @property
    def of_outputs(self) -> bool:
        """Yes."""
        return True

    def problems(self, outputs: int) -> int:
        """C."""
        return outputs

    def functionals(self, outputs: int) -> int:
        """C."""
        return outputs

    def differentiated(self, model: Model, x: Inputs) -> tuple[Model, Inputs]:
        """The network at the points."""
        return model, x

    def rows(
        self, features: TangentFeatures, targets: Float[Array, "m c"]
    ) -> tuple[TangentFeatures, Float[Array, "m c"]]:
        """The features and targets themselves."""
        return features, targets


SEPARATE = Separate()
"""What a fit does where nothing else is asked for."""


@dataclasses.dataclass(frozen=True)
class Joint:
    """All outputs are one regression with one weight vector: C·m rows, as :func:`dntk.solve.joint_ridge`.

    At the Jacobian rows of separate regressions every output is predicted in the span of all of them. The algebra is
    that of C·m points of one output, C² times that of m points of C.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(8, 3)), rng.normal(size=(4, 8))
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(12, 3))
    >>> fit = dntk.DistilledNTK(model, regression=dntk.solve.Joint()).fit(x)
    >>> fit.ledger["features"].jacobian_rows, fit.certificate.points, fit.certificate.outputs
    (48, 48, 1)
    """

    @property
    def of_outputs(self) -> bool:
        """Yes."""
        return True

    def problems(self, outputs: int) -> int:  # noqa: ARG002 - one for any number of outputs
        """One."""
        return 1

    def functionals(self, outputs: int) -> int:
        """C."""
        return outputs

    def differentiated(self, model: Model, x: Inputs) -> tuple[Model, Inputs]:
        """The network at the points."""
        return model, x

    def rows(
        self, features: TangentFeatures, targets: Float[Array, "m c"]
    ) -> tuple[TangentFeatures, Float[Array, "r 1"]]:
        """Rows ψ_c(x_i) with targets y_ic, those of an output after those of another.

        Raises
        ------
        TypeError, ValueError
            No features; targets of other points or outputs.
        """
        require_features("features", features)
        values = features.values
        xp, (c, m, k) = arrays.namespace(values), values.shape
        y = check_targets(targets, values, points=m, outputs=c)
        stacked = dataclasses.replace(features, values=xp.reshape(values, (1, c * m, k)))
        return stacked, xp.reshape(y.T, (c * m, 1))


@dataclasses.dataclass(frozen=True)
class Functionals:
    """One regression on one functional ⟨g, f(x)⟩ for each point, g uniform on the unit sphere: m rows, not C·m.

    C times as many points cost the Jacobian rows of separate regressions, in free directions instead of C fixed ones.

    Parameters
    ----------
    seed
        Of the cotangents g, which are the same on every backend.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(8, 3)), rng.normal(size=(4, 8))
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(12, 3))
    >>> fit = dntk.DistilledNTK(model, regression=dntk.solve.Functionals()).fit(x)
    >>> fit.certificate.points, fit.certificate.outputs, fit.predict(x).shape
    (12, 1, (12, 4))
    """

    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, seed=check_seed(self.seed))

    @property
    def of_outputs(self) -> bool:
        """No."""
        return False

    def problems(self, outputs: int) -> int:  # noqa: ARG002 - one for any number of outputs
        """One."""
        return 1

    def functionals(self, outputs: int) -> int:  # noqa: ARG002 - one for any number of outputs
        """One."""
        return 1

    def cotangents(self, points: int, outputs: int, like: Array) -> Float[Array, "m c"]:
        """Unit vectors g in the dtype of ``like`` and where it is; more points do not change those of the first.

        Rounded to eight significant bits, so that they are the same in every dtype.
        """
        dtype = drawing_dtype(like)
        per_row = -(-outputs // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
        drawn = normals(seed=self.seed, stream="functionals", start=0, count=points * per_row, dtype=dtype)
        rows = drawn.reshape(points, per_row)[:, :outputs]
        lengths = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
        parts, exponents = np.frexp(rows / lengths)
        found = moved(np.ldexp(np.round(parts * 256) / 256, exponents).astype(dtype), like)
        return arrays.namespace(like).astype(found, like.dtype, copy=False)

    def differentiated(self, model: Model, x: Inputs) -> tuple[Model, Inputs]:
        """The functional of the network, at the points with their cotangents.

        Raises
        ------
        TypeError
            The points carry labels of their own, which take the cotangents' place.
        """
        if isinstance(x, Labelled):
            msg = (
                "`x` carries labels, and a functional for each point takes their place: pass "
                "regression=dntk.solve.Joint() or Separate() for a model of labelled inputs."
            )
            raise TypeError(msg)
        like = next(iter(model.parameters.values()))
        return functional(model), labelled(x, self.cotangents(batches.count(x), model.n_outputs, like))

    def rows(
        self, features: TangentFeatures, targets: Float[Array, "m c"]
    ) -> tuple[TangentFeatures, Float[Array, "m 1"]]:
        """The features, which are those of the functionals, and targets ⟨g, y⟩.

        Raises
        ------
        TypeError, ValueError
            No features, or features of more than one functional; targets of other points.
        """
        require_features("features", features)
        if features.n_outputs != 1 or targets.ndim != 2:
            msg = (
                f"`features` has {features.n_outputs} outputs and `targets` shape {tuple(targets.shape)}: pass "
                "features of dntk.tangent_features(*regression.differentiated(model, x)) and targets (m, C)."
            )
            raise ValueError(msg)
        m, c = targets.shape
        y = check_targets(targets, features.values, points=len(features), outputs=c)
        g = self.cotangents(m, c, features.values)
        return features, arrays.namespace(y).sum(g * y, axis=1, keepdims=True)
