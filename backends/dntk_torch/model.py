"""``torch.nn.Module`` as a model: exact per-sample gradients in their cheapest form."""

import dataclasses
import functools
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import array_api_compat.torch as xp
import torch
from jaxtyping import Float

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.models import batches
from dntk.models.adapter import (
    After,
    Following,
    Forward,
    in_order,
    require_array,
    require_input,
    require_shape,
    split,
    total_size,
)
from dntk.models.base import Cotangents, per_input
from dntk.models.batching import measured_bytes
from dntk.models.forms import GradientForms, forms_of
from dntk.models.input_gradients import InputDifferentiable, Observed
from dntk.types import Array, Batch, Namespace
from dntk_torch import inputs, requirements, state
from dntk_torch._blocks import blocks_of
from dntk_torch._example_inputs import guessed_outputs
from dntk_torch._findings import Findings
from dntk_torch._signature import signature
from dntk_torch._watching import require_own_parameters
from dntk_torch.behaviour import evaluated, examined, require_own_outputs
from dntk_torch.called import Called, tensors_of
from dntk_torch.counting import counted, operations_of, probed
from dntk_torch.execution import detached, run, without_graph
from dntk_torch.probe import Plan
from dntk_torch.requirements import FRAMEWORK, kinds_of_inputs
from dntk_torch.undisturbed import undisturbed, undisturbed_steps


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
    way: Forward | None = None
    _findings: Findings = dataclasses.field(default_factory=Findings, repr=False)

    @classmethod
    @undisturbed
    def of(cls, module: Any, parameters: str | None = None, forward: Forward | None = None) -> "TorchModel":
        """Model of a module.

        Parameters
        ----------
        module
            ``torch.nn.Module`` in evaluation mode whose outputs are a tensor (n, C) or (n,), or an
            answer with ``logits``.
        parameters
            Regular expression that the whole name of a parameter must match to be differentiated,
            whether it is trainable or not; default: all trainable ones.
        forward
            How the module is called, as for :func:`dntk.as_model`.

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
        return cls(module=usable, selected=names, way=forward)

    def subset(self, pattern: str) -> "TorchModel":
        """The same network in the parameters whose whole name matches ``pattern``."""
        return TorchModel.of(self.module, pattern, self.way)

    def followed_by(self, after: After) -> "TorchModel":
        """The module and then a function of its answer, in the same parameters."""
        return TorchModel(module=self.module, selected=self.selected, way=Following(self.way, after, xp))

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
    def _net(self) -> Called:
        return Called(self.module, self.way)

    @functools.cached_property
    @undisturbed
    def _guess(self) -> int | None:
        return guessed_outputs(self._net)

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

    @undisturbed
    def __call__(self, x: Batch) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``; those of 16-bit networks as float32, like their kernels."""
        self.check_inputs(x)
        self._count_forward(x)
        with without_graph(self.device):
            outputs = evaluated(self._net, detached(self._net), tensors_of(x))
        self._look_again(tensors_of(x), outputs)
        return arrays.widened(outputs)

    @undisturbed
    def check_inputs(self, x: Batch, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input and the network is in evaluation mode.

        The first inputs of a new shape or dtype are run, as in :func:`dntk.models.adapter.examine`.
        """
        requirements.require_no_autocast(self.device)
        requirements.require_evaluation_mode(self._net)
        requirements.present(self._net, self.selected)
        require_input(x, self, name, convert=FRAMEWORK.convert, kinds=kinds_of_inputs(self._net))
        self._findings.outputs.look(x, probed(lambda: self._examined(tensors_of(x))), of=signature(self._net))

    def _examined(self, x: Batch) -> int:
        count = examined(self._net, x)
        require_own_parameters(self._net, self.selected, batches.first(x))
        return count

    def _look_again(self, x: Any, outputs: torch.Tensor) -> None:
        require = probed(lambda: require_own_outputs(self._net, x, outputs))
        self._findings.outputs.look_again(x, require, of=signature(self._net))

    def gradient_blocks(self, x: Batch, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of the q functionals ⟨cotangents[q], f(x)⟩, one block per parameter.

        Cost: one forward pass and q backward passes to the outputs of layers, plus, where a
        parameter has no verified closed form, q per-sample backward passes. The factors of all
        layers are alive until consumed.
        """
        return undisturbed_steps(self._every_block(x, cotangents))

    def _every_block(self, x: Batch, cotangents: Cotangents) -> Iterator[GradientBlock]:
        self.check_inputs(x)
        functionals = per_input(cotangents, batches.count(x), self.n_outputs)
        self._plan(tensors_of(x))  # before the passes, as what is looked at once is no part of them
        first: Any = functionals[:1, :1]

        def once(q: int) -> int:
            point = batches.first(tensors_of(x))
            list(self._blocks(point, first))  # what is compared on a new way is no part of them either
            return operations_of(lambda: list(self._blocks(point, first.expand(q, 1, -1))))

        self._findings.passes.backward(x, functionals.shape[0], once, of="gradients")
        # A generator must not hold grad modes or hooks while its consumer runs, so all passes end
        # before the first block is handed out.
        yield from in_order(self._blocks(tensors_of(x), functionals))

    def block_bytes(self, x: Batch, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
        """Bytes of gradient blocks per input for one functional, and for each further one; measured once."""
        return self._findings.sizes(x, lambda: measured_bytes(self, x, cotangents), enough=1)

    @undisturbed
    def gradient_forms(self, x: Batch) -> GradientForms:
        """Which parameters have closed-form gradients at inputs like ``x``, which have not, and why."""
        self.check_inputs(x)
        return forms_of(self.parameters, self._plan(tensors_of(x)).why_not)

    @undisturbed
    def jvp(self, x: Batch, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors, one sweep each.

        By forward mode where it agrees with the gradient on a few inputs, by the transpose of the
        gradient (two backward passes) elsewhere.
        """
        self.check_inputs(x)
        require_shape("tangents", tangents, self.n_parameters, "parameter")
        found = self._findings.pushed(self._net, self.selected, tensors_of(x), self._by_name(tangents))
        return arrays.widened(found)

    @undisturbed
    def vjp(self, x: Batch, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters, by one backward pass."""
        self.check_inputs(x)
        require_shape("cotangents", cotangents, self.n_outputs, "output", rows=batches.count(x))
        gradients = self._findings.pulled(self._net, self.selected, tensors_of(x), cotangents)
        return arrays.widened(torch.cat([value.flatten() for value in gradients]))

    @undisturbed
    def head(self, x: Batch) -> str:
        """Name of the linear layer that is called last."""
        self.check_inputs(x)
        with counted():
            return inputs.head_of(self._net, tensors_of(x))

    def batch_norms(self) -> tuple[str, ...]:
        """Names of batch normalisations."""
        return inputs.batch_norms_of(self._net)

    @undisturbed
    def observe(self, x: Batch, layers: tuple[str, ...]) -> Observed:
        """Outputs and what enters the first call of layers, named by module, with the way back to ``x``."""
        self.check_inputs(x)
        self._count_forward(x)
        return inputs.observe(self._net, tensors_of(x), layers)

    @undisturbed
    def input_gradient(self, x: Batch, cotangents: Float[Array, "q c"], directions: Float[Array, "n q p"]) -> Array:
        """Gradient in x_i of Σ_q ⟨directions[i, q], ∇_θ ⟨cotangents[q], f(x_i)⟩⟩.

        By forward mode, differentiated backward, where it agrees with differentiating twice backward for one point;
        by the latter, point by point, elsewhere.
        """
        self.check_inputs(x)
        require_array(x, "x")
        functionals = torch.as_tensor(cotangents).detach()
        named = self._by_name(directions)
        return self._findings.input_gradient(self._net, self.selected, tensors_of(x), functionals, named)

    def _count_forward(self, x: Any) -> None:
        points = batches.first(tensors_of(x))

        def once() -> int:
            with without_graph(self.device):
                return operations_of(lambda: run(self._net, detached(self._net), points))

        self._findings.passes.forward(x, once)

    def _by_name(self, directions: Array) -> dict[str, torch.Tensor]:
        """Vectors (..., P) as tensors (..., *shape) by parameter."""
        return split(torch.as_tensor(directions).detach(), self.parameters)

    def _blocks(self, x: Batch, cotangents: torch.Tensor) -> Iterator[GradientBlock]:
        net, names, plan = self._net, self.selected, self._plan(x)
        look, again = lambda found: self._look_again(x, found), self._findings.planned_again
        return blocks_of(net, names, plan, x, cotangents, look=look, again=lambda woken: again(net, names, x, woken))

    def _plan(self, x: Any) -> Plan:
        return self._findings.planned(self._net, self.selected, x)
