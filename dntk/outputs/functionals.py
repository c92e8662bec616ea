"""Which output functionals a kernel or its features belong to, and how many backward passes that takes.

"each" and "full" and "mean" need every output (C cotangents); "sum" is the pNTK's (1/√C) Σ_c f_c and an integer is
one output: one cotangent.
"""

from typing import Any, Literal, TypeAlias

from jaxtyping import Float

from dntk._checks import is_integer
from dntk.types import Array, Namespace

FeatureOutputs: TypeAlias = Literal["each", "sum"] | int
KernelOutputs: TypeAlias = Literal["mean", "each", "full", "sum"] | int


def cotangents_for(
    outputs: KernelOutputs, n_outputs: int, *, xp: Namespace, dtype: Any, device: Any
) -> Float[Array, "q c"]:
    """Cotangents of the functionals that ``outputs`` names.

    Raises
    ------
    ValueError
        ``outputs`` is neither a known word nor an output's index.
    """
    if outputs in ("mean", "each", "full"):
        return xp.eye(n_outputs, dtype=dtype, device=device)
    if outputs == "sum":
        return xp.full((1, n_outputs), n_outputs**-0.5, dtype=dtype, device=device)
    check_output_index(outputs, n_outputs)
    return xp.eye(n_outputs, dtype=dtype, device=device)[int(outputs) : int(outputs) + 1, :]


def check_output_index(outputs: Any, n_outputs: int) -> None:
    """Raise unless ``outputs`` is an integer in [0, n_outputs)."""
    if not is_integer(outputs) or not 0 <= outputs < n_outputs:
        msg = (
            f"`outputs`={outputs!r}: expected 'mean', 'each', 'full', 'sum' or an output's index from 0 to "
            f"{n_outputs - 1}."
        )
        raise ValueError(msg)
