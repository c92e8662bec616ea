"""Sketched tangent features as a transformer of scikit-learn."""

from typing import Any

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.neural_network import MLPRegressor
from sklearn.utils.validation import check_is_fitted

from dntk.features import tangent_features
from dntk.sketch.application import bind
from dntk.sketch.resolution import resolved
from dntk.sklearn._networks import is_own, network_of, random_network, require_run, seed_of
from dntk.sklearn._places import at_network, moved, on_host, place_of, require_place_of_fit, validated


class TangentFeatureMap(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Inputs to sketched tangent features, whose inner products are the network's mean tangent kernel.

    Any linear method behind it is kernel regression, classification or decomposition with that kernel.

    Parameters
    ----------
    model
        As for :class:`dntk.DistilledNTKClassifier`; ``fit`` needs ``y`` only where the network is not trained.
        ``None``: a network of one hidden layer of 64 rectified units and one output at its random initialisation.
    sketch
        As for :func:`dntk.tangent_features`; ``"auto"`` is settled in ``fit``, by the number of points.
    outputs
        ``"each"``: features of all C outputs, those of the first output first, over √C. ``"sum"`` or an integer: of one
        functional, see :func:`dntk.tangent_features`.
    random_state
        Seed of the network that is made and of the automatic sketch; ``None``: another one at every call.

    Attributes
    ----------
    network_
        The :class:`dntk.Model`.
    sketch_
        The sketch, bound to its parameters; None for all coordinates.
    n_features_in_, feature_names_in_
        As scikit-learn says.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> net = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> features = dntk.TangentFeatureMap(net, sketch=None).fit_transform(x)
    >>> features.shape, np.allclose(features @ features.T, dntk.ntk(net, x))
    ((40, 160), True)
    """

    def __init__(
        self, model: Any = None, *, sketch: Any = "auto", outputs: Any = "each", random_state: Any = 0
    ) -> None:
        self.model = model
        self.sketch = sketch
        self.outputs = outputs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "TangentFeatureMap":
        """Settle the network and the sketch; no features are made.

        Raises
        ------
        TypeError, ValueError
            As :func:`dntk.tangent_features`; a network that is not fitted, without ``y``.
        """
        x = validated(self, X, reset=True, own=is_own(self.model))
        self._place = place_of(x)
        seed = seed_of(self.random_state)
        if self.model is None:
            self.network_ = random_network(x, seed)
        else:
            self.network_ = network_of(self.model, x, on_host(y), default=MLPRegressor(), seed=seed)
        at = at_network(x, self.network_)
        require_run(self.network_, at)
        meant = resolved(self.sketch, self.network_, at, outputs=self.outputs, seed=seed)
        self.sketch_ = None if meant is None else bind(meant, self.network_)
        return self

    def transform(self, X: Any) -> Any:
        """Features (n, C·k)."""
        check_is_fitted(self)
        x = validated(self, X, reset=False, own=is_own(self.model))
        require_place_of_fit(self, x, "transform")
        phi = tangent_features(self.network_, at_network(x, self.network_), sketch=self.sketch_, outputs=self.outputs)
        return moved(phi.joined(), x)

    @property
    def _n_features_out(self) -> int:
        """Number of features, as scikit-learn's mixin of their names asks for it."""
        size = self.network_.n_parameters if self.sketch_ is None else self.sketch_.dim
        return int(size * (self.network_.n_outputs if self.outputs == "each" else 1))

    def __sklearn_tags__(self) -> Any:
        """Arrays of every library are taken, and keep their precision."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
