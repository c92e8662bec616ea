"""Distilled kernel regression as a regressor of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.neural_network import MLPRegressor
from sklearn.utils.validation import check_is_fitted

from dntk.sklearn._fitting import distilled, require_points_of_the_data
from dntk.sklearn._networks import WIDTH, is_own, network_of, require_run, seed_of
from dntk.sklearn._places import at_network, moved, on_host, place_of, require_place_of_fit, validated


class DistilledNTKRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Kernel regression on targets with the distilled tangent kernel of a network.

    Parameters
    ----------
    model
        As for :class:`dntk.DistilledNTKClassifier`, with an output per target; an ``MLPRegressor`` in the place of the
        ``MLPClassifier``. Networks that are fitted here learn the targets less their mean over their standard
        deviation; so does the regression itself, and predictions are scaled back.
    data, sketch, gradients, ridge, tolerance
        As for :class:`dntk.DistilledNTK`; ``data`` chooses points, since no targets are known at inputs that are made.
    regression
        As for :class:`dntk.DistilledNTK`, such as ``dntk.solve.Joint()``; ``None``: every output by itself.
    random_state
        Seed of the network that is made, of the automatic sketch and of random starts. 0 gives the same result at every
        call, ``None`` another one.

    Attributes
    ----------
    network_
        The :class:`dntk.Model`.
    fit_
        The :class:`dntk.Fit`, on standardised targets.
    n_features_in_, feature_names_in_
        As scikit-learn says.

    Notes
    -----
    There is no ``sample_weight``: the regression weighs all points alike. Arrays of other libraries as for
    :class:`dntk.DistilledNTKClassifier`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(1, 16)) / 4
    >>> net = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> y = x[:, 0] - x[:, 1]
    >>> regressor = dntk.DistilledNTKRegressor(net, data=None, gradients=None).fit(x, y)
    >>> regressor.predict(x[:5]).shape, regressor.score(x, y) > 0.9
    ((5,), True)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        data: Any = "auto",
        sketch: Any = "auto",
        gradients: Any = "auto",
        ridge: Any = "loo",
        tolerance: float | None = None,
        regression: Any = None,
        random_state: Any = 0,
    ) -> None:
        self.model = model
        self.data = data
        self.sketch = sketch
        self.gradients = gradients
        self.ridge = ridge
        self.tolerance = tolerance
        self.regression = regression
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "DistilledNTKRegressor":
        """Train the network where there is none yet, and distil its kernel regression on the targets (n,) or (n, C).

        Raises
        ------
        ValueError
            A network with another number of outputs than there are targets; ``data`` that makes inputs; as
            :meth:`dntk.DistilledNTK.fit`.
        """
        require_points_of_the_data(self.data, "the regression would be on the network's outputs")
        own = is_own(self.model)
        x, y = validated(self, X, y, reset=True, own=own, ensure_min_samples=2, y_numeric=True, multi_output=True)
        values = np.asarray(on_host(y), dtype=np.float64)
        self._single = values.ndim == 1
        values = values.reshape(len(values), -1)
        self._mean = tuple(values.mean(axis=0).tolist())
        spread = values.std(axis=0)
        self._spread = tuple(np.where(spread > 0, spread, 1.0).tolist())
        scaled = (values - self._mean) / self._spread
        self._place = place_of(x)
        seed = seed_of(self.random_state)
        learnt = scaled[:, 0] if self._single else scaled
        self.network_ = network_of(self.model, x, learnt, default=MLPRegressor(hidden_layer_sizes=(WIDTH,)), seed=seed)
        at = at_network(x, self.network_)
        require_run(self.network_, at)
        if self.network_.n_outputs != scaled.shape[1]:
            msg = (
                f"the network has {self.network_.n_outputs} outputs, but `y` has {scaled.shape[1]} targets per point: "
                "pass a network with an output per target."
            )
            raise ValueError(msg)
        targets = moved(scaled, next(iter(self.network_.parameters.values())))
        targets = self.network_.namespace.astype(targets, self.network_.dtype, copy=False)
        self.fit_ = distilled(self, self.network_, at, targets, seed=seed)
        return self

    def predict(self, X: Any) -> Any:
        """Predicted targets (n,) or (n, C), as ``y`` was."""
        check_is_fitted(self)
        x = validated(self, X, reset=False, own=is_own(self.model))
        require_place_of_fit(self, x, "predict")
        outputs = self.fit_.predict(at_network(x, self.network_))
        columns = enumerate(zip(self._spread, self._mean, strict=True))
        scaled = [outputs[:, place] * spread + mean for place, (spread, mean) in columns]
        return moved(scaled[0] if self._single else self.network_.namespace.stack(scaled, axis=1), x)

    def __sklearn_tags__(self) -> Any:
        """Arrays of every library, and several targets, are taken."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.target_tags.multi_output = True
        return tags
