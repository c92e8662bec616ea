"""What NumPy arrays need beyond the array API standard, from SciPy."""

import dataclasses
import importlib.util
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.special

from dntk.backend import entries
from dntk.models.base import Model
from dntk.models.mlp import MLP
from dntk.types import Array, Namespace
from dntk_numpy.scikit_learn import from_scikit_learn


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
        array: Array = np.asarray(x)
        return array

    def from_dlpack(self, x: Any) -> Array:
        """View of memory on the host; read-only where it belongs to an immutable array, as those of JAX are."""
        array: Array = np.from_dlpack(x)
        return array

    def scatter_add(self, updates: Array, index: Array, weights: Array, size: int) -> Array:
        """Product with a sparse matrix of SciPy's, one column per update."""
        indptr = np.arange(index.shape[0] + 1) * index.shape[1]
        entries = (np.asarray(weights).reshape(-1), np.asarray(index).reshape(-1), indptr)
        matrix = scipy.sparse.csc_array(entries, shape=(size, index.shape[0]))
        product: Array = matrix @ updates
        return product

    def triangular_solve(self, factor: Array, rhs: Array, *, lower: bool) -> Array:
        """LAPACK's trtrs, one system after another: batches are new in SciPy."""
        pairs = zip(factor.reshape(-1, *factor.shape[-2:]), rhs.reshape(-1, *rhs.shape[-2:]), strict=True)  # type: ignore[attr-defined]
        solved = [scipy.linalg.solve_triangular(a, b, lower=lower, check_finite=False) for a, b in pairs]
        solution: Array = np.stack(solved).reshape(rhs.shape)
        return solution

    def inner(self, x: Array, y: Array) -> Array:
        """BLAS's product."""
        return x @ y.mT

    def gram(self, x: Any) -> Array:
        """BLAS's symmetric product (syrk), which NumPy calls for a matrix and its own transpose."""
        if x.ndim > 2:
            products: list[Any] = [self.gram(matrix) for matrix in x]
            batch: Array = np.stack(products)
            return batch
        matrix = np.ascontiguousarray(x)  # of other strides NumPy makes a copy, and then a general product
        product: Array = matrix @ matrix.T
        return product

    def column_gram(self, x: Any) -> Array:
        """BLAS's symmetric product (syrk), which takes either side of a matrix without a copy."""
        if x.ndim > 2:
            products: list[Any] = [self.column_gram(matrix) for matrix in x]
            batch: Array = np.stack(products)
            return batch
        matrix = np.ascontiguousarray(x)
        product: Array = matrix.T @ matrix
        return product

    def expand(self, cotangents: Array, inputs: Array) -> Array:
        """One product per input, for all functionals at once."""
        (q, n, t, b), a = cotangents.shape, inputs.shape[2]
        rows = xp.reshape(xp.permute_dims(cotangents, (1, 0, 3, 2)), (n, q * b, t))
        expanded: Array = xp.permute_dims(xp.reshape(rows @ inputs, (n, q, b * a)), (1, 0, 2))
        return expanded

    def erf(self, x: Array) -> Array:
        """SciPy's error function."""
        values: Array = scipy.special.erf(x)
        return values

    def working_set(self, x: Array) -> int:
        """2¹⁹ entries: 2 MiB in float32, which a processor's cache holds."""
        del x
        return 2**19

    def synchronize(self, x: Array) -> None:
        """Nothing to wait for."""

    def as_model(self, net: Any, params: Any, parameters: str | None) -> Model:
        """Model of a dntk.MLP, of a fitted scikit-learn network, or of a function ``net(params, x)``."""
        if params is not None:
            return _function_model(net, params, parameters)
        model = net if isinstance(net, MLP) else from_scikit_learn(net)
        return model if parameters is None else model.subset(parameters)


def _function_model(function: Any, params: Any, parameters: str | None) -> Model:
    """Model of a function that autograd differentiates."""
    kinds = {cls.__module__.partition(".")[0] for cls in type(function).__mro__}
    owners = [name for name, entry in entries().items() if kinds & set(entry.modules)]
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
