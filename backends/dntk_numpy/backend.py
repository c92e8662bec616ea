"""What NumPy arrays need beyond the array API standard, from SciPy."""

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.special

from dntk.backend import entries, expand, root_modules
from dntk.models.adapter import refuse_forward
from dntk.models.base import Model
from dntk.models.mlp import MLP
from dntk.types import Array, Namespace
from dntk_numpy._scikit_learn import from_scikit_learn


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumpyBackend:
    """Backend protocol for NumPy."""

    name: str = "numpy"
    version: str = np.__version__
    autodiff: str = "dntk.MLP, scikit-learn MLPClassifier and MLPRegressor, functions of autograd.numpy"

    def devices(self) -> tuple[str, ...]:
        """The host."""
        return ("cpu",)

    def namespace(self) -> Namespace:
        """NumPy through array-api-compat."""
        return xp

    def to_numpy(self, x: Array) -> Any:
        """The array itself."""
        return np.asarray(x)

    def from_numpy(self, x: Any, *, device: Any = None) -> Array:
        """The array itself."""
        del device
        return np.asarray(x)

    def from_dlpack(self, x: Any) -> Array:
        """View of memory on the host; read-only where it belongs to an immutable array, as those of JAX are."""
        return np.from_dlpack(x)

    def scatter_add(self, updates: Array, index: Array, weights: Array, size: int) -> Array:
        """Product with a sparse matrix of SciPy's, one column per update."""
        indptr = np.arange(index.shape[0] + 1) * index.shape[1]
        entries = (np.asarray(weights).reshape(-1), np.asarray(index).reshape(-1), indptr)
        matrix = scipy.sparse.csc_array(entries, shape=(size, index.shape[0]))
        return matrix @ updates

    def triangular_solve(self, factor: Array, rhs: Array, *, lower: bool) -> Array:
        """LAPACK's trtrs, one system after another: batches are new in SciPy."""
        pairs = zip(factor.reshape(-1, *factor.shape[-2:]), rhs.reshape(-1, *rhs.shape[-2:]), strict=True)  # type: ignore[attr-defined]
        solved = [scipy.linalg.solve_triangular(a, b, lower=lower, check_finite=False) for a, b in pairs]
        return np.stack(solved).reshape(rhs.shape)

    def inner(self, x: Array, y: Array) -> Array:
        """BLAS's product."""
        return x @ y.mT

    def gram(self, x: Any) -> Array:
        """BLAS's symmetric product (syrk), which NumPy calls for a matrix and its own transpose."""
        return _by_matrix(lambda matrix: matrix @ matrix.T, x)

    def column_gram(self, x: Any) -> Array:
        """BLAS's symmetric product (syrk), which takes either side of a matrix without a copy."""
        return _by_matrix(lambda matrix: matrix.T @ matrix, x)

    def expand(self, cotangents: Array, inputs: Array) -> Array:
        """One product per input, for all functionals at once."""
        return expand(cotangents, inputs)

    def erf(self, x: Array) -> Array:
        """SciPy's error function."""
        return scipy.special.erf(x)

    def working_set(self, x: Array) -> int:
        """2¹⁹ entries: 2 MiB in float32, which a processor's cache holds."""
        del x
        return 2**19

    def synchronize(self, x: Array) -> None:
        """Nothing to wait for."""

    def as_model(self, net: Any, params: Any, parameters: str | None, forward: Any = None) -> Model:
        """Model of a dntk.MLP, of a fitted scikit-learn network, or of a function ``net(params, x)``."""
        refuse_forward(forward)
        if params is not None:
            return _function_model(net, params, parameters)
        model = net if isinstance(net, MLP) else from_scikit_learn(net)
        return model if parameters is None else model.subset(parameters)


def _by_matrix(gram: Callable[[Any], Any], x: Any) -> Array:
    """The Gram matrix of a matrix, or of each in a batch."""
    if x.ndim > 2:
        products: list[Any] = [_by_matrix(gram, matrix) for matrix in x]
        return np.stack(products)
    return gram(np.ascontiguousarray(x))  # of other strides NumPy makes a copy, and then a general product


def _function_model(function: Any, params: Any, parameters: str | None) -> Model:
    """Model of a function that autograd differentiates."""
    owners = [name for name, entry in entries().items() if root_modules(function) & set(entry.modules)]
    if owners or not callable(function):
        msg = (
            "functions with `params` need a framework that differentiates them: with NumPy arrays pass fn(params, x) "
            f"written with autograd.numpy, got a {type(function).__module__}.{type(function).__qualname__}. Networks "
            "that hold their parameters themselves come without `params`; functions of JAX arrays, with those."
        )
        raise TypeError(msg)
    if importlib.util.find_spec("autograd") is None:
        msg = "functions of NumPy arrays are differentiated by autograd, which is not installed: "
        raise ImportError(msg + 'pip install "dntk[autograd]".')
    from dntk_numpy.autograd_model import AutogradModel

    return AutogradModel.of(function, params, parameters)
