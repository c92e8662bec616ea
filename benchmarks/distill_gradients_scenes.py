"""Networks on real images, with the features that gradients are distilled from, per seed."""

import dataclasses
import gzip
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dntk import TangentFeatures, as_model, tangent_features
from dntk.random import uniforms
from dntk.sketch import SparseSign
from dntk.solve import ridge
from dntk.targets import one_hot
from dntk_studies.datasets import Dataset, Split, digits
from dntk_studies.demo.methods.unseen import grouped_targets

FASHION = Path("/usr/share/datasets/fashion-mnist")
POOL, VALIDATION, SKETCH, FLIPPED = 500, 300, 2048, 0.2
HIDDEN = {"digits": (96, 64), "fashion": (128,)}
TEST = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Sketched features and targets of the points to distil, to choose settings by, and to judge by.

    ``targets``: the network's outputs; ``groups``: ±1 for ten groupings of the classes that no distiller sees;
    ``noisy``: centred one-hot targets of labels of which a fifth is flipped.
    """

    name: str
    seed: int
    phi: TangentFeatures
    validation: TangentFeatures
    test: TangentFeatures
    targets: NDArray[Any]
    validation_targets: NDArray[Any]
    network: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any]
    noisy: NDArray[Any]
    ridge: float


def scene(name: str, seed: int) -> Scene:
    """Train a network and sketch its tangent features.

    Raises
    ------
    FileNotFoundError
        Fashion-MNIST is not installed; the message says how to get it.
    """
    data = digits(train=1000, validation=VALIDATION, seed=seed) if name == "digits" else fashion(seed)
    model = as_model(_network(data, HIDDEN[name], seed))
    sketch = SparseSign(SKETCH, seed=seed)
    pool, y = data.train.x[:POOL], data.train.y[:POOL]
    phi = tangent_features(model, pool, sketch=sketch)
    targets = model(pool)
    return Scene(
        name=name,
        seed=seed,
        phi=phi,
        validation=tangent_features(model, data.validation.x, sketch=sketch),
        test=tangent_features(model, data.test.x, sketch=sketch),
        targets=targets,
        validation_targets=model(data.validation.x),
        network=model(data.test.x),
        labels=data.test.y,
        groups=grouped_targets(y),
        noisy=one_hot(_flipped(y, seed), 10, like=targets),
        ridge=ridge(phi, targets, ridge="loo").ridge,
    )


def fashion(seed: int) -> Dataset:
    """5,000 training and 300 validation images of Fashion-MNIST, 1,000 test images of its test part.

    Raises
    ------
    FileNotFoundError
        The files are not where Debian's package puts them.
    """
    if not FASHION.is_dir():
        msg = f"{FASHION} is missing: apt-get install dataset-fashion-mnist"
        raise FileNotFoundError(msg)
    x, y = _idx("train-images-idx3"), _idx("train-labels-idx1")
    held_x, held_y = _idx("t10k-images-idx3"), _idx("t10k-labels-idx1")
    order = np.argsort(uniforms(seed=seed, stream="fashion", count=len(x)), kind="stable")
    rest = np.argsort(uniforms(seed=seed, stream="fashion-test", count=len(held_x)), kind="stable")[:TEST]
    train, validation = order[:5000], order[5000 : 5000 + VALIDATION]
    return Dataset(
        name="fashion",
        train=_split(x[train], y[train]),
        validation=_split(x[validation], y[validation]),
        test=_split(held_x[rest], held_y[rest]),
    )


def _split(x: NDArray[Any], y: NDArray[Any]) -> Split:
    return Split(x=(x.reshape(len(x), -1) / 255).astype(np.float32), y=y.astype(np.int64))


def _idx(name: str) -> NDArray[Any]:
    data = gzip.decompress((FASHION / f"{name}-ubyte.gz").read_bytes())
    axes = data[3]
    shape = struct.unpack(">" + "I" * axes, data[4 : 4 + 4 * axes])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _network(data: Dataset, hidden: tuple[int, ...], seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed, short budget is the recipe
        steps = 100 if data.name == "digits" else 20
        return MLPClassifier(hidden, max_iter=steps, random_state=seed).fit(data.train.x, data.train.y)


def _flipped(labels: NDArray[Any], seed: int) -> NDArray[Any]:
    """A fifth of the labels replaced by another class each."""
    draws = uniforms(seed=seed, stream="flipped", count=2 * len(labels)).reshape(2, -1)
    other = (labels + 1 + (9 * draws[1]).astype(np.int64)) % 10
    return np.where(draws[0] < FLIPPED, other, labels)
