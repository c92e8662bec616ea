"""scikit-learn's multilayer perceptrons as dntk models."""

from typing import Any

import numpy as np

from dntk.models.mlp import MLP


def from_scikit_learn(net: Any) -> MLP:
    """Model of a fitted ``MLPClassifier`` or ``MLPRegressor``: the outputs are logits, before softmax or sigmoid.

    Raises
    ------
    TypeError
        ``net`` is another kind of scikit-learn object.
    ValueError
        ``net`` is not fitted.
    """
    if not {"activation", "hidden_layer_sizes"} <= set(getattr(net, "get_params", dict)()):
        msg = (
            f"cannot make a model of a {type(net).__module__}.{type(net).__qualname__}: of scikit-learn only "
            "MLPClassifier and MLPRegressor have parameter gradients; pass the network itself, not a Pipeline."
        )
        raise TypeError(msg)
    if not hasattr(net, "coefs_"):
        msg = f"the {type(net).__name__} is not fitted: call fit(x, y) before dntk.as_model."
        raise ValueError(msg)
    return MLP(
        weights=tuple(np.array(w.T, order="C") for w in net.coefs_),
        biases=tuple(np.array(b) for b in net.intercepts_),
        activation=net.activation,
    )
