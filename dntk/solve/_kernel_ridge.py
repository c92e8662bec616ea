"""Ridge regression on kernels that are given as matrices, such as exact ones from :func:`dntk.ntk`."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._foreign import require_plain_array
from dntk._kernel_checks import symmetrised
from dntk._progress import task
from dntk._target_checks import check_targets
from dntk.ledger import count
from dntk.solve.conditioning import Jitter, cholesky_solve, factorise, inverse_factor
from dntk.solve.leave_one_out import choose_kernel_ridge
from dntk.solve.rules import Ridge, resolve_ridge
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelRidgeFit:
    """Dual solution of kernel ridge regression, one problem per output.

    Parameters
    ----------
    dual
        α_c = (K^c + λI)⁻¹y_c, (C, n).
    ridge
        λ, absolute.
    loo_error
        Mean squared leave-one-out residual over points and outputs.
    jitter
        What was added to λ because the system was singular to rounding; 0 unless jitter was allowed.
    """

    dual: Float[Array, "c n"]
    ridge: float
    loo_error: float
    jitter: float = 0.0

    def predict(self, kernel: Float[Array, "c q n"]) -> Float[Array, "q c"]:
        """Predictions from the kernels between query points and the points of the fit."""
        c, n = self.dual.shape
        if kernel.ndim != 3 or kernel.shape[0] != c or kernel.shape[2] != n:
            msg = f"`kernel` has shape {tuple(kernel.shape)}: expected ({c}, queries, {n}), as of ntk(outputs='each')."
            raise ValueError(msg)
        return (kernel @ self.dual[:, :, None])[:, :, 0].T


def kernel_ridge(
    kernel: Float[Array, "c n n"], targets: Float[Array, "n c"], *, ridge: Ridge = "loo", jitter: Jitter | None = None
) -> KernelRidgeFit:
    """Solve (K^c + λI)α_c = y_c; equivalent to scikit-learn's ``KernelRidge(kernel="precomputed")`` per output.

    Parameters
    ----------
    kernel
        (C, n, n), positive semidefinite.
    targets
        (n, C).
    ridge
        λ, ``"loo"`` or a grid, as for :func:`dntk.solve.ridge`.
    jitter
        Permission to enlarge a ridge at which the system is singular to rounding; what was added is reported.

    Raises
    ------
    ValueError
        Shapes that do not fit, a kernel that is not symmetric beyond rounding, a ridge that is not positive, a system
        that is singular to rounding, or a zero kernel with ``"loo"``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> kernels = phi.kernel(outputs="each")
    >>> fit = dntk.solve.kernel_ridge(kernels, y, ridge=1.0)
    >>> fit.dual.shape, np.allclose(kernels[0] @ fit.dual[0] + fit.dual[0], y[:, 0])
    ((2, 40), True)
    """
    require_plain_array("kernel", kernel)
    xp = arrays.namespace(kernel)
    arrays.require_floating("kernel", kernel)
    if kernel.ndim != 3 or kernel.shape[1] != kernel.shape[2]:
        msg = f"`kernel` has shape {tuple(kernel.shape)}: expected (outputs, points, points)."
        raise ValueError(msg)
    arrays.require_finite("kernel", kernel)
    dtype, kernel = kernel.dtype, symmetrised("kernel", kernel)
    y = check_targets(targets, kernel, points=kernel.shape[1], outputs=kernel.shape[0])
    with task("kernel ridge regression", total=2) as bar:
        chosen = resolve_ridge(ridge, lambda grid: choose_kernel_ridge(kernel, y, grid))
        bar.advance()
        count(flops=2 * kernel.shape[0] * kernel.shape[1] ** 3)
        factor, added = factorise(kernel, chosen, jitter)
        inverse = inverse_factor(factor)
        bar.advance()
    wide = arrays.in_float64(y).T
    dual = cholesky_solve(factor, wide[:, :, None])[:, :, 0]
    left_out = dual / xp.sum(inverse * inverse, axis=1)
    return KernelRidgeFit(
        dual=xp.astype(dual, dtype, copy=False),
        ridge=chosen,
        loo_error=float(xp.mean(left_out**2)),
        jitter=added,
    )
