"""Derivatives of a multilayer perceptron in its inputs, in closed form.

With layers h_l = a_{l−1} W_lᵀ + b_l, a_l = σ(h_l), and tangents V_l, β_l of the parameters, the tangents of the layers
are ḣ_l = ȧ_{l−1} W_lᵀ + a_{l−1} V_lᵀ + β_l and ȧ_l = σ'(h_l) ḣ_l. Going back through both sweeps, with p = ∂/∂ḣ and
r = ∂/∂h of a functional of the last ḣ,

    ∂/∂ȧ_{l−1} = p_l W_l,   ∂/∂a_{l−1} = r_l W_l + Σ p_l V_l,   r_{l−1} = σ' ∂/∂a + σ'' ḣ ∂/∂ȧ,   p_{l−1} = σ' ∂/∂ȧ.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Float

from dntk import arrays
from dntk.models.activations import Activation
from dntk.types import Array


def pull_layers(
    weights: Sequence[Array],
    before: Sequence[Array],
    activation: Activation,
    outputs: Float[Array, "n c"],
    inputs: Mapping[int, Float[Array, "n _"]],
) -> Float[Array, "n d"]:
    """Gradient in the network's inputs, from cotangents of the outputs and of the inputs of some layers."""
    delta = outputs
    for layer in range(len(weights) - 1, -1, -1):
        delta = delta @ weights[layer]
        if layer in inputs:
            delta = delta + inputs[layer]
        if layer:
            delta = delta * activation.derivative(before[layer - 1])
    return delta


def tangent_input_gradient(
    weights: Sequence[Array],
    inputs: Sequence[Float[Array, "n _"]],
    before: Sequence[Float[Array, "n _"]],
    activation: Activation,
    turns: Sequence[Float[Array, "n q _ _"] | None],
    shifts: Sequence[Float[Array, "n q _"] | None],
    cotangents: Float[Array, "q c"],
) -> Float[Array, "n d"]:
    """Gradient in the inputs of Σ_q ⟨cotangents[q], ḟ_q⟩, for tangents of weights and biases of every point.

    ``inputs`` and ``before`` are those of each layer, before and after its linear map; ``None`` stands for a parameter
    that does not move. Cost: that of four forward passes for every point and q.
    """
    xp = arrays.namespace(inputs[0])
    tangents = _tangents(weights, inputs, before, activation, turns, shifts)
    moving = xp.broadcast_to(cotangents[None, :, :], (inputs[0].shape[0], *cotangents.shape))  # ∂/∂ḣ
    fixed = xp.zeros_like(before[-1])  # ∂/∂h
    for layer in range(len(weights) - 1, 0, -1):
        to_tangent = moving @ weights[layer]
        to_value = _to_value(moving, fixed, weights[layer], turns[layer])
        bend = activation.second_derivative(before[layer - 1])
        fixed = activation.derivative(before[layer - 1]) * to_value
        known = tangents[layer - 1]
        if known is not None:
            fixed = fixed + bend * xp.sum(to_tangent * known, axis=1)
        moving = activation.derivative(before[layer - 1])[:, None, :] * to_tangent
    return _to_value(moving, fixed, weights[0], turns[0])


def _to_value(
    moving: Float[Array, "n q b"], fixed: Float[Array, "n b"], weight: Float[Array, "b a"], turn: Array | None
) -> Float[Array, "n a"]:
    value = fixed @ weight
    if turn is None:
        return value
    return value + arrays.namespace(value).sum((moving[:, :, None, :] @ turn)[:, :, 0, :], axis=1)


def _tangents(
    weights: Sequence[Array],
    inputs: Sequence[Array],
    before: Sequence[Array],
    activation: Activation,
    turns: Sequence[Array | None],
    shifts: Sequence[Array | None],
) -> list[Float[Array, "n q _"] | None]:
    """Tangent ḣ of every layer, ``None`` where nothing before it moves."""
    found: list[Array | None] = []
    flow: Array | None = None  # tangent ȧ of the layer's input
    for layer, weight in enumerate(weights):
        turn, shift = turns[layer], shifts[layer]
        terms = [None if flow is None else flow @ weight.T]
        terms.append(None if turn is None else (turn @ inputs[layer][:, None, :, None])[:, :, :, 0])
        terms.append(shift)
        step: Array | None = None
        for term in terms:
            step = term if step is None else step if term is None else step + term
        found.append(step)
        flow = None if step is None else step * activation.derivative(before[layer])[:, None, :]
    return found
