"""The network of an estimator: the user's own, or one that is made for the data."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils import check_random_state

from dntk.models.base import Model, as_model, checked_inputs, outputs_of
from dntk.models.mlp import MLP
from dntk.sklearn._places import moved, on_host
from dntk.types import Array

WIDTH = 64
"""Hidden units of the networks that are made."""

_PERCEPTRONS = (MLPClassifier, MLPRegressor)


def seed_of(random_state: Any) -> int:
    """One seed for all that is drawn, from whatever scikit-learn takes as a random state."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        check_random_state(random_state)
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def network_of(model: Any, x: Array, y: Array | None, *, default: Any, seed: int) -> Model:
    """The model of a network: as it is where it is trained; perceptrons of scikit-learn that are not are fitted.

    Parameters
    ----------
    model
        What the user gave: a network that :func:`dntk.as_model` takes, or one in scikit-learn's ``FrozenEstimator``;
        an unfitted ``MLPClassifier`` or ``MLPRegressor``, of which a clone is fitted; ``None``: ``default``, fitted.
    x, y
        Checked inputs, and the labels or targets that such a network learns.
    seed
        Its random state where it has none.

    Raises
    ------
    TypeError, ValueError
        As :func:`dntk.as_model`; an unfitted network without ``y``.
    """
    given = unfrozen(model)
    if given is not None and not _learns(given):
        return as_model(given)
    if y is None:
        msg = f"`model` is a {type(given).__name__} that is not fitted, and `y` is None: pass y, or fit it first."
        raise ValueError(msg)
    net = clone(default if given is None else given)
    if net.random_state is None:
        net.set_params(random_state=seed)
    with warnings.catch_warnings():
        if given is None:  # its steps are part of what it is, and no choice of the user's
            warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(on_host(x), on_host(y))
    return placed(as_model(net), x)


def require_run(network: Model, x: Array) -> None:
    """Run the network on the first point: it must take it, and tells how many outputs it has."""
    outputs_of(network, checked_inputs(network, x[:1, ...]))


def unfrozen(model: Any) -> Any:
    """The network in a ``FrozenEstimator``; others as they are."""
    frozen = type(model).__module__.startswith("sklearn.") and type(model).__name__ == "FrozenEstimator"
    return model.estimator if frozen else model


def is_own(model: Any) -> bool:
    """Whether a network was given that is no perceptron of scikit-learn, whose inputs are tables of floats."""
    given = unfrozen(model)
    return given is not None and not isinstance(given, (*_PERCEPTRONS, MLP))


def random_network(x: Array, seed: int) -> Model:
    """One hidden layer of 64 rectified units on the columns of ``x`` and one output, weights N(0, 2/fan-in)."""
    rng, columns = np.random.default_rng(seed), x.shape[1]
    kind = on_host(x[:1, :]).dtype
    shapes = ((WIDTH, columns), (1, WIDTH))
    weights = tuple((rng.standard_normal(shape) * (2 / shape[1]) ** 0.5).astype(kind) for shape in shapes)
    biases = tuple(np.zeros(shape[0], dtype=kind) for shape in shapes)
    return placed(MLP(weights=weights, biases=biases), x)


def placed(net: Any, x: Array) -> Model:
    """A perceptron at the place of its inputs."""
    weights = tuple(moved(w, x) for w in net.weights)
    return dataclasses.replace(
        net, weights=weights, biases=tuple(None if b is None else moved(b, x) for b in net.biases)
    )


def _learns(net: Any) -> bool:
    """Whether it is a perceptron that has still to be fitted."""
    return isinstance(net, _PERCEPTRONS) and not hasattr(net, "coefs_")
