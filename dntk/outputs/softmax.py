"""The logarithm of the softmax and its derivative, accurate where one class has nearly all the probability.

With m the largest logit's class, log p_c = f_c − f_m − log1p(Σ_{d≠m} exp(f_d − f_m)). Derivatives avoid the
difference 1 − p_m, in which everything would cancel: tangents are shifted by t_m, which changes nothing, and a
cotangent's coordinate m is minus the sum of the others, as they all sum to zero.
"""

from jaxtyping import Bool, Float

from dntk import arrays
from dntk.outputs.labels import is_label
from dntk.types import Array


def log_probabilities(logits: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Logarithm of the softmax, f − log Σ_c exp f_c."""
    xp = arrays.namespace(logits)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    others = xp.where(_largest(logits), xp.zeros_like(shifted), xp.exp(shifted))
    return shifted - xp.log1p(xp.sum(others, axis=1, keepdims=True))


def push(logits: Float[Array, "n c"], tangents: Float[Array, "q n c"]) -> Float[Array, "q n c"]:
    """Directional derivative t − Σ_c p_c t_c."""
    xp = arrays.namespace(logits)
    largest, probabilities = _largest(logits), xp.exp(log_probabilities(logits))
    relative = tangents - _picked(tangents, largest)
    return relative - xp.sum(probabilities * relative, axis=2, keepdims=True)


def pull(logits: Float[Array, "n c"], cotangents: Float[Array, "q n c"]) -> Float[Array, "q n c"]:
    """Gradient u − p Σ_c u_c of ⟨u, log p⟩."""
    xp = arrays.namespace(logits)
    largest, probabilities = _largest(logits), xp.exp(log_probabilities(logits))
    pulled = cotangents - probabilities * xp.sum(cotangents, axis=2, keepdims=True)
    others = xp.where(largest, xp.zeros_like(pulled), pulled)
    return xp.where(largest, -xp.sum(others, axis=2, keepdims=True), others)


def class_logits(values: Float[Array, "*batch c"]) -> Float[Array, "*batch v"]:
    """Logits or their tangents, one per class: a single output is the logit of class 1 where class 0 has logit 0."""
    xp = arrays.namespace(values)
    return values if values.shape[-1] > 1 else xp.concat([xp.zeros_like(values), values], axis=-1)


def output_cotangents(cotangents: Float[Array, "*batch v"], n_outputs: int) -> Float[Array, "*batch c"]:
    """Cotangents of the network's outputs from those of :func:`class_logits`."""
    return cotangents if n_outputs > 1 else cotangents[..., 1:]


def _largest(logits: Float[Array, "n c"]) -> Bool[Array, "n c"]:
    """Whether a class is the first of the largest logit."""
    return is_label(arrays.first_largest(logits), logits.shape[1])


def _picked(values: Float[Array, "q n c"], where: Bool[Array, "n c"]) -> Float[Array, "q n one"]:
    """The entry of every row that is meant, as a column."""
    xp = arrays.namespace(values)
    return xp.sum(xp.where(where, values, xp.zeros_like(values)), axis=2, keepdims=True)
