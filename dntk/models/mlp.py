"""A multilayer perceptron in array API alone, with its gradient blocks in closed form.

It runs on every namespace, with no automatic differentiation: layers h_l = a_{l−1} W_lᵀ + b_l, a_l = σ(h_l), outputs
h_L. For a functional u of the outputs, the gradient in W_l is δ_l a_{l−1}ᵀ with δ_L = u and
δ_l = (W_{l+1}ᵀ δ_{l+1}) σ'(h_l).
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of, get_backend
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock
from dntk.ledger import count
from dntk.models.activations import ACTIVATIONS
from dntk.models.adapter import (
    offsets_of,
    require_array,
    require_input,
    require_shape,
    size_of,
    split,
    total_size,
)
from dntk.models.adapter._operations import Operations
from dntk.models.base import Cotangents, per_input, select_names
from dntk.models.input_gradients import Observed
from dntk.models.mlp_inputs import pull_layers, tangent_input_gradient
from dntk.models.mlp_parameters import layer_number, numbered, plus
from dntk.types import Array, Namespace


@dataclasses.dataclass(frozen=True, kw_only=True)
class MLP:
    """Fully connected network at fixed parameters; itself a :class:`dntk.Model`.

    Parameters
    ----------
    weights
        One matrix (d_out, d_in) per layer.
    biases
        One vector (d_out,) per layer, or ``None`` for a layer without.
    activation
        Between layers: ``"relu"``, ``"tanh"``, ``"gelu"`` (with erf), ``"gelu_tanh"``, ``"logistic"`` or
        ``"identity"``.
    selected
        Names of the parameters that are differentiated (``weights.0``, ``biases.0``, ...); ``None`` for all.

    Raises
    ------
    ValueError
        Sizes of consecutive layers do not fit, the activation is unknown, or parameters are not finite.
    TypeError
        The arrays belong to different namespaces or are not floating point.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> model(rng.normal(size=(40, 3))).shape
    (40, 2)
    >>> model.n_parameters, model.n_outputs
    (80, 2)
    >>> model.subset("weights.1").n_parameters
    32
    """

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"] | None, ...]
    activation: str = "relu"
    selected: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.weights or len(self.biases) != len(self.weights):
            msg = f"expected one bias (or None) per weight, got {len(self.weights)} weights, {len(self.biases)} biases."
            raise ValueError(msg)
        if self.activation not in ACTIVATIONS:
            msg = f"`activation`={self.activation!r}: expected one of {', '.join(ACTIVATIONS)}."
            raise ValueError(msg)
        every = {**numbered("weights", self.weights), **numbered("biases", self.biases)}
        arrays.require_same_place(**every)
        for name, value in every.items():
            arrays.require_floating(name, value)
            arrays.require_finite(name, value)
            self._check_parameter(name, value)
        self._check_layer_sizes()
        unknown = set(self.selected or ()) - set(every)
        if unknown:
            msg = f"`selected` names {', '.join(sorted(unknown))}, but the parameters are {', '.join(every)}."
            raise ValueError(msg)

    def _check_parameter(self, name: str, value: Array) -> None:
        axes = 2 if name.startswith("weights") else 1
        if value.ndim != axes or 0 in value.shape:
            msg = f"{name} has shape {tuple(value.shape)}: expected {axes} axes, none empty."
            raise ValueError(msg)
        if value.dtype != self.dtype:
            msg = f"{name} has dtype {value.dtype}, but weights.0 has {self.dtype}: convert them to one precision."
            raise TypeError(msg)

    def _check_layer_sizes(self) -> None:
        width = self.weights[0].shape[1]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.shape[1] != width or (bias is not None and bias.shape[0] != weight.shape[0]):
                msg = (
                    f"weights.{layer} has shape {tuple(weight.shape)} and its bias "
                    f"{None if bias is None else tuple(bias.shape)}, but {width} values enter that layer: "
                    f"expected (d_out, {width}) and (d_out,)."
                )
                raise ValueError(msg)
            width = weight.shape[0]

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name: weight and bias of the first layer, of the second, and so on."""
        every: dict[str, Array] = {}
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            every[f"weights.{layer}"] = weight
            if bias is not None:
                every[f"biases.{layer}"] = bias
        return every if self.selected is None else {n: a for n, a in every.items() if n in self.selected}

    @property
    def state(self) -> Mapping[str, Array]:
        """All parameters by name, selected or not."""
        return {**numbered("weights", self.weights), **numbered("biases", self.biases)}

    @property
    def structure(self) -> str:
        """The activation."""
        return self.activation

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return total_size(self.parameters)

    @property
    def n_outputs(self) -> int:
        """Number C of outputs."""
        return self.weights[-1].shape[0]

    @property
    def namespace(self) -> Namespace:
        """Array namespace of the parameters."""
        return arrays.namespace(self.weights[0])

    @property
    def device(self) -> Any:
        """Device of the parameters."""
        return arrays.device_of(self.weights[0])

    @property
    def dtype(self) -> Any:
        """Floating-point type of the parameters."""
        return self.weights[0].dtype

    def subset(self, pattern: str) -> "MLP":
        """The same network, differentiated only in parameters whose whole name matches ``pattern``."""
        return dataclasses.replace(self, selected=tuple(select_names(list(self.parameters), pattern)))

    def to(self, backend: str, *, device: Any = None, dtype: str | None = None) -> "MLP":
        """The same network with its arrays in another backend, through host memory."""
        source, target = backend_of(self.weights[0]), get_backend(backend)

        def move(x: Array) -> Array:
            host = source.to_numpy(x)
            return target.from_numpy(host if dtype is None else host.astype(dtype), device=device)

        return dataclasses.replace(
            self,
            weights=tuple(move(w) for w in self.weights),
            biases=tuple(None if b is None else move(b) for b in self.biases),
        )

    def check_inputs(self, x: Array, name: str = "x") -> None:
        """Raise a clear error unless ``x`` is a finite (n, d) array of the network's namespace, device and dtype."""
        require_array(x, name)
        require_input(x, self, name)
        width = self.weights[0].shape[1]
        if x.ndim != 2 or x.shape[1] != width:
            msg = f"`{name}` has shape {tuple(x.shape)}, but the model takes {width} features: pass shape (n, {width})."
            raise ValueError(msg)

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """Outputs (logits) at the inputs ``x``; those of 16-bit parameters are computed in float32."""
        self.check_inputs(x)
        self._operations().count(x.shape[0])
        return self._forward(x)[1][-1]

    def gradient_blocks(self, x: Float[Array, "n d"], cotangents: Cotangents) -> Iterator[GradientBlock]:
        """A factored block for every weight with its bias, a dense one for a bias alone, last layer first."""
        self.check_inputs(x)
        delta = arrays.widened(per_input(cotangents, x.shape[0], self.n_outputs))
        self._operations().count(x.shape[0], delta.shape[0])
        inputs, before = self._forward(x)
        arrays.require_finite("the network's outputs", before[-1])
        offsets = offsets_of(self.parameters)
        derivative = ACTIVATIONS[self.activation].derivative
        for layer in range(len(self.weights) - 1, -1, -1):
            weight, bias = f"weights.{layer}", f"biases.{layer}"
            block = FactoredBlock(
                name=weight,
                offset=offsets.get(weight, 0),
                inputs=inputs[layer][:, None, :],
                cotangents=delta[:, :, None, :],
                bias=weight in offsets and bias in offsets,
            )
            if weight in offsets:
                yield block
            elif bias in offsets:
                yield DenseBlock(name=bias, offset=offsets[bias], values=delta)
            if layer:
                delta = (delta @ self._matrices[layer]) * derivative(before[layer - 1])

    def jvp(self, x: Float[Array, "n d"], tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors, by one forward sweep."""
        self.check_inputs(x)
        require_shape("tangents", tangents, self.n_parameters, "parameter")
        named = split(arrays.widened(tangents), self._vectors)
        self._operations(turned=list(named)).count(x.shape[0], tangents.shape[0])
        inputs, before = self._forward(x)
        derivative = ACTIVATIONS[self.activation].derivative
        flow: Array | None = None  # tangent of the layer's input
        for layer, weight in enumerate(self._matrices):
            step = None if flow is None else flow @ weight.T
            turn, shift = named.get(f"weights.{layer}"), named.get(f"biases.{layer}")
            step = plus(step, None if turn is None else inputs[layer] @ turn.mT)
            step = plus(step, None if shift is None else shift[:, None, :])
            last = layer == len(self.weights) - 1
            flow = step if step is None or last else step * derivative(before[layer])
        assert flow is not None
        xp = self.namespace
        return xp.broadcast_to(flow, (tangents.shape[0], x.shape[0], self.n_outputs))

    def vjp(self, x: Float[Array, "n d"], cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters, by one backward sweep."""
        xp = self.namespace
        self.check_inputs(x)
        require_shape("cotangents", cotangents, self.n_outputs, "output", rows=x.shape[0])
        self._operations(turned=[f"weights.{layer}" for layer in range(len(self.weights))]).count(x.shape[0], 1)
        inputs, before = self._forward(x)
        derivative = ACTIVATIONS[self.activation].derivative
        pieces: dict[str, Array] = {}
        delta = arrays.widened(cotangents)
        for layer in range(len(self.weights) - 1, -1, -1):
            pieces[f"weights.{layer}"] = xp.reshape(delta.T @ inputs[layer], (-1,))
            pieces[f"biases.{layer}"] = xp.sum(delta, axis=0)
            if layer:
                delta = (delta @ self._matrices[layer]) * derivative(before[layer - 1])
        return xp.concat([pieces[name] for name in self.parameters])

    def head(self, x: Float[Array, "n d"]) -> str:
        """Name of the last weight, whose inputs are the penultimate features."""
        self.check_inputs(x)
        return f"weights.{len(self.weights) - 1}"

    def batch_norms(self) -> tuple[str, ...]:
        """None: there is no normalisation."""
        return ()

    def observe(self, x: Float[Array, "n d"], layers: tuple[str, ...]) -> Observed:
        """Outputs, and the inputs of layers named by their weight (or bias), differentiable in ``x``."""
        self.check_inputs(x)
        self._operations().count(x.shape[0])
        inputs, before = self._forward(x)
        numbers = {name: layer_number(name, len(self.weights)) for name in layers}

        def pull(outputs: Array, wanted: Mapping[str, Array]) -> Array:
            count(backward_passes=x.shape[0], flops=x.shape[0] * self._operations().forward)
            extra = {numbers[name]: arrays.widened(value[:, 0, :]) for name, value in wanted.items()}
            activation = ACTIVATIONS[self.activation]
            found = pull_layers(self._matrices, before, activation, arrays.widened(outputs), extra)
            return self.namespace.astype(found, x.dtype, copy=False)

        seen = {name: inputs[number][:, None, :] for name, number in numbers.items()}
        return Observed(outputs=before[-1], inputs=seen, pull=pull)

    def input_gradient(
        self, x: Float[Array, "n d"], cotangents: Float[Array, "q c"], directions: Float[Array, "n q p"]
    ) -> Float[Array, "n d"]:
        """Gradient in x_i of Σ_q ⟨directions[i, q], ∇_θ ⟨cotangents[q], f(x_i)⟩⟩, by two sweeps."""
        self.check_inputs(x)
        forward = self._operations().forward
        Operations(forward=forward, backward=4 * forward).count(x.shape[0], cotangents.shape[0])
        inputs, before = self._forward(x)
        named, layers = split(arrays.widened(directions), self._vectors), range(len(self.weights))
        turns, shifts = ([named.get(f"{kind}.{layer}") for layer in layers] for kind in ("weights", "biases"))
        activation = ACTIVATIONS[self.activation]
        wide = arrays.widened(cotangents)
        found = tangent_input_gradient(self._matrices, inputs, before, activation, turns, shifts, wide)
        return self.namespace.astype(found, x.dtype, copy=False)

    @property
    def _matrices(self) -> tuple[Array, ...]:
        """The weights as they are multiplied: of 16 bits in float32."""
        return tuple(arrays.widened(weight) for weight in self.weights)

    @property
    def _vectors(self) -> Mapping[str, Array]:
        """The selected parameters so."""
        return {name: arrays.widened(value) for name, value in self.parameters.items()}

    def _operations(self, turned: Sequence[str] = ()) -> Operations:
        """A product with every weight forward, with all but the first backward; and one more with those ``turned``."""
        sizes = [2 * size_of(weight) for weight in self.weights]
        more = sum(size for layer, size in enumerate(sizes) if f"weights.{layer}" in turned)
        return Operations(forward=sum(sizes), backward=sum(sizes[1:]) + more)

    def _forward(self, x: Array) -> tuple[list[Array], list[Array]]:
        """Input of every layer, and its value before the activation."""
        activation = ACTIVATIONS[self.activation].value
        inputs, before = [arrays.widened(x)], []
        for weight, bias in zip(self._matrices, self.biases, strict=True):
            value = inputs[-1] @ weight.T
            before.append(value if bias is None else value + arrays.widened(bias))
            inputs.append(activation(before[-1]))
        return inputs[:-1], before
