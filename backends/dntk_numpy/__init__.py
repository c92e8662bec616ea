"""The NumPy backend: arrays on the host, dntk.MLP and scikit-learn's multilayer perceptrons as models."""

from dntk.backend import Backend, BackendEntry


def _load() -> Backend:
    from dntk_numpy.backend import NumpyBackend

    return NumpyBackend()


entry = BackendEntry(
    name="numpy",
    modules=("numpy", "sklearn", "dntk"),
    requires=("numpy", "sklearn"),
    install="pip install dntk",
    load=_load,
)
