"""The network of the demo and its points, as arrays of a backend."""

import dataclasses
import warnings
from typing import Any

from dntk.backend import Backend
from dntk.models.base import as_model
from dntk.models.mlp import MLP
from dntk.types import Array
from dntk_studies.datasets import shifted_digits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """The network, its training images with their shifts, and test images with labels and the network's outputs."""

    backend: Backend
    model: MLP
    x: Array
    x_test: Array
    y_test: Array
    f_test: Array


def digits_scene(backend: Backend, seed: int) -> Scene:
    """scikit-learn's MLPClassifier, 64-256-10, trained on the shifted digits."""
    data = shifted_digits(seed=seed)
    model = as_model(_trained(data.train.x, data.train.y, seed))
    assert isinstance(model, MLP)
    model = model.to(backend.name)
    x_test = backend.from_numpy(data.test.x)
    return Scene(
        backend=backend,
        model=model,
        x=backend.from_numpy(data.train.x),
        x_test=x_test,
        y_test=backend.from_numpy(data.test.y),
        f_test=model(x_test),
    )


def _trained(x: Any, y: Any, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed, short budget is the recipe
        return MLPClassifier((256,), max_iter=60, random_state=seed).fit(x, y)
