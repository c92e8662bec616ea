"""Numbers that say how many dimensions a kernel really has."""

from jaxtyping import Float

from dntk import arrays
from dntk._checks import not_negative, positive, share
from dntk._foreign import require_plain_array
from dntk._kernel_checks import require_descending
from dntk.features import TangentFeatures
from dntk.spectrum.eigen import eigenvalues
from dntk.types import Array

Spectrum = TangentFeatures | Float[Array, "*c n n"] | Float[Array, " n"]
"""Features, a kernel, or its descending eigenvalues."""


def truncation_rank(kernel: Spectrum, epsilon: float = 0.05) -> int:
    """Least r whose leading eigenvalues hold 1 − ε of the trace: r_ε = min{r : Σ_{i≤r} λ_i ≥ (1 − ε) Σ λ_i}.

    Takes features, one kernel, or descending eigenvalues themselves. A zero kernel has truncation rank 0.

    Raises
    ------
    ValueError
        ``epsilon`` is not in [0, 1).

    Examples
    --------
    >>> dntk.spectrum.truncation_rank(np.array([90.0, 6.0, 3.0, 1.0]))  # 96 of 100
    2
    >>> dntk.spectrum.truncation_rank(np.array([90.0, 6.0, 3.0, 1.0]), 0.2)
    1
    """
    return rank_holding(_spectrum(kernel), share("epsilon", epsilon, what="in [0, 1)", zero=True))


def rank_holding(values: Float[Array, " n"], epsilon: float = 0.05) -> int:
    """Least r whose first values hold 1 − ε of their sum; 0 where that is not positive."""
    xp = arrays.namespace(values)
    held = xp.cumulative_sum(values)
    total = float(held[-1])
    if total <= 0:
        return 0
    # Rounding of the sum must not ask for one eigenvalue more when epsilon is 0.
    needed = (1 - epsilon) * total * (1 - values.shape[0] * arrays.epsilon(values))
    return int(xp.sum(xp.astype(held < needed, xp.int32))) + 1


def effective_dimension(kernel: Spectrum, ridge: float) -> float:
    """d_λ = tr K (K + λI)⁻¹ = Σ λ_i / (λ_i + λ), the degrees of freedom of ridge regression.

    Raises
    ------
    ValueError
        ``ridge`` is not positive.

    Examples
    --------
    >>> dntk.spectrum.effective_dimension(np.array([3.0, 1.0]), ridge=1.0)  # 3/4 + 1/2
    1.25
    """
    ridge = positive("ridge", ridge)
    values = _spectrum(kernel)
    return float(arrays.namespace(values).sum(values / (values + ridge)))


def condition_number(kernel: Spectrum, ridge: float = 0.0) -> float:
    """(λ_1 + λ) / (λ_n + λ); infinite for a singular kernel without ridge.

    Examples
    --------
    >>> dntk.spectrum.condition_number(np.array([9.0, 0.0]))
    inf
    >>> dntk.spectrum.condition_number(np.array([9.0, 0.0]), ridge=1.0)
    10.0
    """
    ridge, values = not_negative("ridge", ridge), _spectrum(kernel)
    smallest = float(values[-1]) + ridge
    return (float(values[0]) + ridge) / smallest if smallest > 0 else float("inf")


def _spectrum(kernel: TangentFeatures | Array) -> Float[Array, " n"]:
    if not isinstance(kernel, TangentFeatures):
        require_plain_array("kernel", kernel)
        if kernel.ndim == 1 and kernel.shape[0]:
            require_descending("kernel", kernel)
            return kernel
    values = eigenvalues(kernel)
    if values.ndim != 1:
        msg = f"expected one kernel (n, n), got a stack of {values.shape[0]}: pass them one at a time."
        raise ValueError(msg)
    return values
