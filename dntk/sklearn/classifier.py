"""Distilled kernel regression as a classifier of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neural_network import MLPClassifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from dntk.metrics import predicted_labels
from dntk.models.base import Model
from dntk.sklearn._fitting import distilled, require_points_of_the_data
from dntk.sklearn._networks import WIDTH, is_own, network_of, require_run, seed_of, unfrozen
from dntk.sklearn._places import at_network, moved, on_host, place_of, require_place_of_fit, validated
from dntk.sklearn._probabilities import class_probabilities
from dntk.types import Array


class DistilledNTKClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Kernel regression on one-hot labels with the distilled tangent kernel of a network.

    Parameters
    ----------
    model
        A trained network that :func:`dntk.as_model` takes, with an output per class in the order of the sorted labels,
        or one output for two classes: PyTorch, JAX, a :class:`dntk.Model`. It is used as it is, and inputs go to its
        library, device and type; points may have several axes, and integers stay integers. An ``MLPClassifier`` that
        is not fitted is cloned and fitted to the data. A fitted one is used as it is; but scikit-learn's ``clone``, as
        in cross-validation, forgets what it learned, so that it is fitted anew to every fold: pass
        ``dntk.as_model(net)`` or ``FrozenEstimator(net)`` to keep it. ``None``: an ``MLPClassifier`` with 64 hidden
        units, fitted to the data in at most 200 epochs of Adam, converged or not; scale its inputs, as for any
        perceptron.
    data, sketch, gradients, ridge, tolerance
        As for :class:`dntk.DistilledNTK`.
    regression
        As for :class:`dntk.DistilledNTK`, such as ``dntk.solve.Joint()``; ``None``: every output by itself.
    random_state
        Seed of the network that is made, of the automatic sketch and of random starts. 0 gives the same result at every
        call, ``None`` another one.

    Attributes
    ----------
    classes_
        Sorted labels.
    network_
        The :class:`dntk.Model`.
    fit_
        The :class:`dntk.Fit`: its ``certificate``, ``losses``, ``ledger``, ``trust`` and ``uncertainty``, for inputs at
        the network's place.
    n_features_in_, feature_names_in_
        As scikit-learn says.

    Notes
    -----
    The regression is on centred one-hot targets; a single output learns ∓½. There is no ``sample_weight``: the
    regression weighs all points alike. Arrays of other libraries go through host memory, and results are NumPy's;
    with scikit-learn's ``array_api_dispatch`` they stay where they are, and results are at the place of ``X``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> net = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> y = np.where(x[:, 0] > 0, "right", "left")
    >>> classifier = dntk.DistilledNTKClassifier(net, data=None, gradients=None).fit(x, y)
    >>> classifier.classes_.tolist(), classifier.predict_proba(x).shape
    (['left', 'right'], (40, 2))
    >>> classifier.score(x, y) > 0.9
    True
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

    def fit(self, X: Any, y: Any) -> "DistilledNTKClassifier":
        """Train the network where there is none yet, and distil its kernel regression on the labels.

        Raises
        ------
        ValueError
            Labels of one class; a network with another number of outputs than there are classes, or that was fitted to
            other labels; as :meth:`dntk.DistilledNTK.fit`.
        """
        x, y = validated(self, X, y, reset=True, own=is_own(self.model), ensure_min_samples=2)
        labels = column_or_1d(on_host(y), warn=True)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self._require_classes()
        self._place = place_of(x)
        seed = seed_of(self.random_state)
        default = MLPClassifier(hidden_layer_sizes=(WIDTH,))
        self.network_ = network_of(self.model, x, codes, default=default, seed=seed)
        at = at_network(x, self.network_)
        require_run(self.network_, at)
        self.fit_ = distilled(self, self.network_, at, self._targets(self.network_, codes), seed=seed)
        return self

    def decision_function(self, X: Any) -> Any:
        """Outputs of the regression (n, K), about 1 − 1/K for the class and −1/K for others; of two classes f (n,).

        That is the second output less the first where the network has two, else the only one; positive for the second
        class.
        """
        outputs, x = self._outputs(X, "decision_function")
        if len(self.classes_) > 2:
            return moved(outputs, x)
        return moved(outputs[:, -1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0], x)

    def predict(self, X: Any) -> Any:
        """Class of the largest output. Labels that are text are NumPy's."""
        outputs, x = self._outputs(X, "predict")
        found = self.classes_[on_host(predicted_labels(outputs))]
        return moved(found, x) if found.dtype.kind in "biuf" else found

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes (n, K): the regression's estimates of their frequencies, made a distribution.

        The nearest point of the simplex to the outputs, mixed with as much of the uniform distribution as the
        leave-one-out error of the regression speaks for, so that none is zero. They are not calibrated: least squares
        shrink towards the mean, and a network that has learnt noisy labels by heart is too sure of them. For
        calibrated ones use ``sklearn.calibration.CalibratedClassifierCV``.
        """
        outputs, x = self._outputs(X, "predict_proba")
        return moved(class_probabilities(outputs, self.fit_.losses.loo_error), x)

    def _outputs(self, X: Any, method: str) -> tuple[Array, Array]:
        """Outputs of the regression, and the checked inputs, whose place the results take."""
        check_is_fitted(self)
        x = validated(self, X, reset=False, own=is_own(self.model))
        require_place_of_fit(self, x, method)
        return self.fit_.predict(at_network(x, self.network_)), x

    def _require_classes(self) -> None:
        """Raise for labels of one class, and for a network that was fitted to others."""
        if len(self.classes_) < 2:
            msg = f"`y` has one class, {self.classes_.tolist()[0]!r}: a classifier needs at least two."
            raise ValueError(msg)
        known = getattr(unfrozen(self.model), "classes_", None)
        if known is not None and not np.array_equal(known, self.classes_):
            msg = (
                f"`model` was fitted to the classes {known.tolist()}, but `y` has {self.classes_.tolist()}: its "
                "outputs mean other labels. Pass labels of the same classes, or a network that is not fitted."
            )
            raise ValueError(msg)

    def _targets(self, network: Model, codes: Any) -> Array:
        """Labels as the regression takes them: places of the classes, or ∓½ for a single output."""
        classes, like = len(self.classes_), next(iter(network.parameters.values()))
        if network.n_outputs == classes:
            return moved(codes, like)
        if network.n_outputs == 1 and classes == 2:
            require_points_of_the_data(self.data, "a single output learns ∓½")
            return network.namespace.astype(moved(codes[:, None] - 0.5, like), network.dtype, copy=False)
        msg = (
            f"the network has {network.n_outputs} outputs, but `y` has {classes} classes: pass a network with an "
            "output per class, in the order of the sorted labels."
        )
        raise ValueError(msg)

    def __sklearn_tags__(self) -> Any:
        """Arrays of every library are taken."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags
