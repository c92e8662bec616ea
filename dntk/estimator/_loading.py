"""A stored fit, read back."""

from pathlib import Path

from dntk._checks import folder
from dntk.estimator import storage
from dntk.estimator.fit import Fit
from dntk.models.base import Model, require_model


def load(path: str | Path, *, model: Model | None = None) -> Fit:
    """Read a stored fit.

    Parameters
    ----------
    path
        File written by :meth:`Fit.save`.
    model
        The network, from :func:`dntk.as_model`, where it was no dntk.MLP. It must be that of the fit in all
        parameters and buffers, and in what it makes of them at four inputs of the fit.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    StoreError
        It is damaged, foreign, of another version, or of another network, or needs ``model``.
    ImportError
        It was made with a backend that is not installed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> fit = dntk.DistilledNTK(model, gradients=None).fit(x)
    >>> fit.save("fit.dntk")
    >>> again = dntk.load("fit.dntk")
    >>> np.array_equal(again.predict(x), fit.predict(x))
    True
    """
    if model is not None:
        require_model(model)
    return Fit(*storage.read(folder("path", path), model))
