"""A functional of the outputs of one's own for every input."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.models.base import Model
from dntk.outputs.transformed import TransformedModel, transformed
from dntk.types import Array


def functional(model: Model) -> TransformedModel:
    """⟨g, f(x)⟩ with a cotangent g (C,) that comes with its input, as a model of one output.

    Its tangent feature at x is Σ_c g_c φ_c(x): m inputs with a cotangent each are m rows in free directions, where m
    inputs with all outputs are m rows in each of C fixed ones. :func:`dntk.solve.joint_ridge` regresses on either.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`. Its inputs are then ``dntk.outputs.labelled(x, g)`` with floats g (n, C).

    Raises
    ------
    TypeError
        ``model`` is no model. Where it is used: cotangents that are not floating point.
    ValueError
        Where it is used: no cotangents, or some of another shape than the outputs.

    Notes
    -----
    Cost: one Jacobian row and one backward pass per input, not C.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, g = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> one = dntk.outputs.functional(model)(dntk.outputs.labelled(x, g))
    >>> one.shape, np.allclose(one[:, 0], (g * model(x)).sum(axis=1))
    ((4, 1), True)
    """
    return transformed(model, Functional(), Cotangents())


@dataclasses.dataclass(frozen=True)
class Functional:
    """Σ_c g_c f_c, with gradient g."""

    def n_outputs(self, base: int) -> int:  # noqa: ARG002 - one value for any number of outputs
        """One."""
        return 1

    def value(self, outputs: Float[Array, "n c"], labels: Float[Array, "n c"]) -> Float[Array, "n one"]:
        """Products of outputs and cotangents."""
        return arrays.namespace(outputs).sum(outputs * labels, axis=1, keepdims=True)

    def push(
        self,
        outputs: Float[Array, "n c"],  # noqa: ARG002 - it is linear
        labels: Float[Array, "n c"],
        tangents: Float[Array, "q n c"],
    ) -> Float[Array, "q n one"]:
        """Tangents t become Σ_c g_c t_c."""
        return arrays.namespace(tangents).sum(labels[None, :, :] * tangents, axis=2, keepdims=True)

    def pull(
        self,
        outputs: Float[Array, "n c"],  # noqa: ARG002 - it is linear
        labels: Float[Array, "n c"],
        cotangents: Float[Array, "q n one"],
    ) -> Float[Array, "q n c"]:
        """Cotangents u become u g."""
        return cotangents * labels[None, :, :]


@dataclasses.dataclass(frozen=True)
class Cotangents:
    """Cotangents (n, C) that come with the inputs."""

    def labels(self, given: Array | None, outputs: Float[Array, "n c"], name: str) -> Float[Array, "n c"]:
        """The cotangents that came, in the dtype of the outputs."""
        self.check(given, outputs.shape[1], name)
        assert given is not None
        return arrays.namespace(outputs).astype(given, outputs.dtype, copy=False)

    def check(self, given: Array | None, n_outputs: int, name: str) -> None:
        """Raise ``ValueError`` for none or another shape, ``TypeError`` for integers."""
        remedy = f"pass dntk.outputs.labelled({name}, g) with floats g of shape (n, {n_outputs})"
        if given is None:
            msg = f"`{name}` has no cotangents: {remedy}."
            raise ValueError(msg)
        if not arrays.is_floating(given):
            msg = f"the cotangents of `{name}` have dtype {given.dtype}: {remedy}."
            raise TypeError(msg)
        if given.ndim != 2 or given.shape[1] != n_outputs:
            msg = f"the cotangents of `{name}` have shape {tuple(given.shape)}: {remedy}."
            raise ValueError(msg)
