"""``torch.nn.Module`` as a model: exact per-sample gradients in their cheapest form."""

import dataclasses
import functools
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import array_api_compat.torch as xp
import torch
from jaxtyping import Float

from dntk import arrays
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock
from dntk.models.adapter import (
    PROBES,
    Memo,
    OutputCount,
    Passes,
    in_order,
    require_input,
    require_shape,
    split,
    stored_block,
    total_size,
)
from dntk.models.base import Cotangents, per_input
from dntk.models.batching import measured_bytes
from dntk.models.input_gradients import InputDifferentiable, Observed
from dntk.types import Array, Namespace
from dntk_torch import inputs, requirements, state
from dntk_torch._example_inputs import guessed_outputs
from dntk_torch._placing import misplaced
from dntk_torch._pulling import pull
from dntk_torch._signature import signature
from dntk_torch._watching import moves_rows, require_own_parameters
from dntk_torch.behaviour import evaluated, examined
from dntk_torch.capture import Capture, Pulled, block_of, capture, watched
from dntk_torch.counting import counted, operations_of, probed
from dntk_torch.execution import detached, differentiable, run, without_graph
from dntk_torch.per_sample import PerSample, Push, by_loop, gradient
from dntk_torch.probe import Plan, make_plan, make_push
from dntk_torch.requirements import FRAMEWORK, kinds_of_inputs


@dataclasses.dataclass(frozen=True, eq=False)
class _Findings:
    """What calls have shown."""

    outputs: OutputCount = dataclasses.field(default_factory=OutputCount)
    plans: Memo[Plan] = dataclasses.field(default_factory=Memo)
    pushes: Memo[Push] = dataclasses.field(default_factory=Memo)
    input_gradients: Memo[inputs.InputGradient] = dataclasses.field(default_factory=Memo)
    moving: Memo[bool] = dataclasses.field(default_factory=Memo)
    sizes: Memo[tuple[int, int]] = dataclasses.field(default_factory=Memo)
    passes: Passes = dataclasses.field(default_factory=Passes)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TorchModel(InputDifferentiable):
    """A PyTorch network in evaluation mode, differentiable in the parameters called ``selected``.

    Make it with :meth:`of`. The module itself is never run and never changed: every run is that of a private copy of
    its structure as it then is, which shares its parameters. So threads may call one model, and run the module,
    at once; changes between calls are seen. Linear layers, convolutions, embeddings
    and norms give their gradients in factored or closed form wherever a check on a few inputs
    confirms it; all other parameters are differentiated input by input.

    A network of 16-bit floating-point numbers is run as it is, on inputs of its own dtype; outputs,
    gradients and everything made of them are float32.
    """

    module: torch.nn.Module
    selected: tuple[str, ...]
    _findings: _Findings = dataclasses.field(default_factory=_Findings, repr=False)

    @classmethod
    def of(cls, module: Any, parameters: str | None = None) -> "TorchModel":
        """Model of a module.

        Parameters
        ----------
        module
            ``torch.nn.Module`` in evaluation mode whose outputs are a tensor (n, C).
        parameters
            Regular expression that the whole name of a parameter must match to be differentiated,
            whether it is trainable or not; default: all trainable ones.

        Raises
        ------
        TypeError
            ``module`` is no ``torch.nn.Module``, or a selected parameter is not floating point.
        ValueError
            It is in training mode, has lazy layers, batch norms without running statistics, no
            parameters to differentiate, parameters of several dtypes or devices, or not finite
            ones.
        """
        usable = requirements.usable_module(module)
        names = requirements.selected_names(usable, parameters)
        requirements.require_gradients_are_derivatives(usable, names)
        return cls(module=usable, selected=names)

    def subset(self, pattern: str) -> "TorchModel":
        """The same network in the parameters whose whole name matches ``pattern``."""
        return TorchModel.of(self.module, pattern)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name, in the module's order."""
        every = requirements.present(self.module, self.selected)
        return {name: every[name].detach() for name in self.selected}

    @property
    def state(self) -> Mapping[str, Array]:
        """All parameters and persistent buffers by name."""
        return state.state_of(self.module)

    @property
    def structure(self) -> Hashable:
        """Kinds and settings of all submodules, and buffers that are not persistent, such as caches."""
        return state.structure_of(self.module)

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return total_size(self.parameters)

    @property
    def n_outputs(self) -> int:
        """Number C of outputs.

        Raises
        ------
        AttributeError
            The model has not been called, and no input made up from its first layer's sizes fits.
        """
        count = self._findings.outputs
        return count.known(guess=self._guess if count.latest is None else None)

    @functools.cached_property
    def _guess(self) -> int | None:
        return guessed_outputs(self.module)

    @property
    def namespace(self) -> Namespace:
        """PyTorch through array-api-compat."""
        return xp

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return arrays.device_of(self.parameters[self.selected[0]])

    @property
    def dtype(self) -> Any:
        """Floating-point type of the selected parameters."""
        return self.parameters[self.selected[0]].dtype

    def __call__(self, x: Array) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``; those of 16-bit networks as float32, like their kernels."""
        self.check_inputs(x)
        self._count_forward(x)
        with without_graph(self.device):
            return arrays.widened(evaluated(self.module, detached(self.module), x))

    def check_inputs(self, x: Array, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input and the network is in evaluation mode.

        The first inputs of a new shape or dtype are run, as in :func:`dntk.models.adapter.examine`.
        """
        requirements.require_evaluation_mode(self.module)
        requirements.present(self.module, self.selected)
        require_input(x, self, name, convert=FRAMEWORK.convert, kinds=kinds_of_inputs(self.module))
        self._findings.outputs.look(x, probed(lambda: self._examined(torch.as_tensor(x))), of=signature(self.module))

    def _examined(self, x: torch.Tensor) -> int:
        count = examined(self.module, x)
        require_own_parameters(self.module, self.selected, x[:1])
        return count

    def gradient_blocks(self, x: Array, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of the q functionals ⟨cotangents[q], f(x)⟩, one block per parameter.

        Cost: one forward pass and q backward passes to the outputs of layers, plus, where a
        parameter has no verified closed form, q per-sample backward passes. The factors of all
        layers are alive until consumed.
        """
        self.check_inputs(x)
        functionals = per_input(cotangents, x.shape[0], self.n_outputs)
        if self._plan(x).layouts:
            self._moves(x)  # before the passes, as what is looked at once is no part of them
        first: Any = functionals[:1, :1]
        self._findings.passes.backward(
            x,
            functionals.shape[0],
            lambda q: operations_of(lambda: list(self._blocks(x[:1], first.expand(q, 1, -1)))),
            of="gradients",
        )
        # A generator must not hold grad modes or hooks while its consumer runs, so all passes end
        # before the first block is handed out.
        yield from in_order(self._blocks(x, functionals))

    def block_bytes(self, x: Array, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
        """Bytes of gradient blocks per input for one functional, and for each further one; measured once."""
        return self._findings.sizes(x, lambda: measured_bytes(self, x, cotangents), enough=1)

    def jvp(self, x: Array, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors, one sweep each.

        By forward mode where it agrees with the gradient on a few inputs, by the transpose of the
        gradient (two backward passes) elsewhere.
        """
        self.check_inputs(x)
        require_shape("tangents", tangents, self.n_parameters, "parameter")
        points, named = torch.as_tensor(x), self._by_name(tangents)
        now = signature(self.module)
        push = self._findings.pushes(x, probed(lambda: make_push(self.module, self.selected, points)), of=now, enough=1)

        def once(q: int) -> int:
            copies = {name: value[:1].expand(q, *value.shape[1:]) for name, value in named.items()}
            return operations_of(lambda: push(self.module, copies, points[:1]))

        self._findings.passes.backward(x, tangents.shape[0], once, of=push)
        return arrays.widened(push(self.module, named, points))

    def vjp(self, x: Array, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters, by one backward pass."""
        self.check_inputs(x)
        require_shape("cotangents", cotangents, self.n_outputs, "output", rows=x.shape[0])
        self._findings.passes.backward(
            x, 1, lambda q: operations_of(lambda: self._pulled(x[:1], [cotangents[:1, ...]] * q)), of="vjp"
        )
        (gradients,) = self._pulled(x, [cotangents])
        return arrays.widened(torch.cat([value.flatten() for value in gradients]))

    def head(self, x: Array) -> str:
        """Name of the linear layer that is called last."""
        self.check_inputs(x)
        with counted():
            return inputs.head_of(self.module, torch.as_tensor(x))

    def batch_norms(self) -> tuple[str, ...]:
        """Names of batch normalisations."""
        return inputs.batch_norms_of(self.module)

    def observe(self, x: Array, layers: tuple[str, ...]) -> Observed:
        """Outputs and what enters the first call of layers, named by module, with the way back to ``x``."""
        self.check_inputs(x)
        self._count_forward(x)
        return inputs.observe(self.module, torch.as_tensor(x), layers)

    def input_gradient(self, x: Array, cotangents: Float[Array, "q c"], directions: Float[Array, "n q p"]) -> Array:
        """Gradient in x_i of Σ_q ⟨directions[i, q], ∇_θ ⟨cotangents[q], f(x_i)⟩⟩.

        By forward mode, differentiated backward, where it agrees with differentiating twice backward for one point;
        by the latter, point by point, elsewhere.
        """
        self.check_inputs(x)
        points, functionals = torch.as_tensor(x).detach(), torch.as_tensor(cotangents).detach()
        data = (self.module, self.selected, points, functionals, self._by_name(directions))

        def find() -> inputs.InputGradient:
            return inputs.by_forward_mode if inputs.agreeing(*data) else inputs.by_backward_mode

        way = self._findings.input_gradients(x, probed(find), of=signature(self.module), enough=1)

        def once(q: int) -> int:
            copies = {name: value[:1, :1].expand(1, q, *value.shape[2:]) for name, value in data[4].items()}
            case = (self.module, self.selected, points[:1], functionals[:1].expand(q, -1), copies)
            return operations_of(lambda: way(*case))

        self._findings.passes.backward(x, functionals.shape[0], once, of=way)
        return way(*data)

    def _count_forward(self, x: Any) -> None:
        points = torch.as_tensor(x)[:1]

        def once() -> int:
            with without_graph(self.device):
                return operations_of(lambda: run(self.module, detached(self.module), points))

        self._findings.passes.forward(x, once)

    def _pulled(self, x: Any, cotangents: list[Any]) -> list[list[torch.Tensor]]:
        """Gradients of the selected parameters for every batch of cotangents (n, C)."""
        values = detached(self.module, self.selected)
        with differentiable(self.device):
            outputs = run(self.module, values, x)
            chosen = [values[name] for name in self.selected]
            weights = [torch.as_tensor(each, dtype=outputs.dtype).detach() for each in cotangents]
            return [gradient(outputs, chosen, each) for each in weights]

    def _by_name(self, directions: Array) -> dict[str, torch.Tensor]:
        """Vectors (..., P) as tensors (..., *shape) by parameter."""
        return split(torch.as_tensor(directions).detach(), self.parameters)

    def _plan(self, x: Any) -> Plan:
        return self._findings.plans(
            x, probed(lambda: make_plan(self.module, self.selected, x)), of=signature(self.module)
        )

    def _moves(self, x: Any) -> bool:
        find = probed(lambda: moves_rows(self.module, x[:PROBES]))
        return self._findings.moving(x, find, of=signature(self.module))

    def _blocks(self, x: Any, cotangents: Any) -> Iterator[GradientBlock]:
        plan, misled = self._plan(x), set()
        captured: Capture | None = None
        pulled: Pulled = {}
        stored: dict[str, DenseBlock | None] = {}
        cotangents = cotangents.detach()
        if plan.layouts:
            with differentiable(self.device):
                values = detached(self.module, list(plan.layouts))
                layers = watched(plan.sites)
                captured = capture(self.module, values, x, layers, shielded=plan.shielded)
                arrays.require_finite("the network's outputs", captured.outputs.detach())
                factored, small = plan.placed(stored=False), plan.placed(stored=True)
                if self._moves(x):
                    misled = misplaced(captured, cotangents, {**factored, **small})
                pulled, stored = pull(captured, cotangents, factored, small)
        stored.update(self._per_sample(plan.per_sample, x, cotangents))
        absorbed = False
        for name in self.selected:
            if absorbed:  # the bias of the block before
                absorbed = False
                continue
            block: Any = stored.pop(name, None)
            if name in misled:
                block = None
            elif block is None and captured is not None and name not in plan.stored:
                layout = plan.layouts[name]
                block = block_of(plan.sites[name], captured, pulled, layout=layout, name=name)
            if block is None:
                # These inputs took another way through the network than those of the probe, one after the other.
                block = self._per_sample({name: by_loop}, x, cotangents)[name]
            if name in plan.with_bias and isinstance(block, FactoredBlock) and not block.transposed:
                block, absorbed = dataclasses.replace(block, bias=True), True
            yield block

    def _per_sample(
        self, methods: Mapping[str, PerSample], x: torch.Tensor, cotangents: torch.Tensor
    ) -> dict[str, DenseBlock]:
        """Stored gradients of parameters without a closed form."""
        blocks = {}
        for method in set(methods.values()):
            names = [name for name, chosen in methods.items() if chosen is method]
            for name, values in method(self.module, names, x, cotangents).items():
                blocks[name] = stored_block(name, arrays.widened(values))
        return blocks
