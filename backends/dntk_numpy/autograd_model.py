"""Functions written with ``autograd.numpy`` as models: exact per-sample gradients of ``fn(params, x)``."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import array_api_compat.numpy as xp
import autograd.numpy
import numpy as np
from jaxtyping import Float

from dntk.gradient_blocks import GradientBlock
from dntk.ledger import count, recording
from dntk.models import batches
from dntk.models.adapter import (
    PROBES,
    After,
    Memo,
    OutputCount,
    Passes,
    evaluate,
    examine,
    followed,
    in_order,
    outputs_alone,
    require_input,
    require_outputs,
    require_own_rows,
    require_shape,
    split,
    total_size,
)
from dntk.models.base import Cotangents, Model, per_input
from dntk.models.nests import mapped
from dntk.types import Array, Batch, Namespace
from dntk_numpy.autograd_blocks import layer_blocks, looped_blocks
from dntk_numpy.autograd_checks import (
    FRAMEWORK,
    agreeing,
    alike,
    differentiating,
    require_agreement,
    require_influence,
    selected_names,
)
from dntk_numpy.autograd_counting import Tally, tallied
from dntk_numpy.autograd_graph import Function, Recording, pushed_by_transposes, pushed_forward, recorded
from dntk_numpy.nest import filled, named_arrays


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AutogradModel(Model):
    """A function ``fn(params, x)`` with outputs (n, C), differentiable in the parameters called ``selected``.

    Make it with :meth:`of`. Parameters are copies; the function gets copies of inputs. A matrix that is used as in
    ``h @ w`` (or ``h @ w.T``, ``dot``), and arrays that are added to rows or multiply them, give their gradients in
    factored or closed form wherever a check on a few inputs confirms it. All other parameters are differentiated
    input by input, n · q backward passes for q cotangents. Outputs and derivatives have the parameters' dtype.
    """

    function: Callable[[Any, Any], Any]
    nest: Any
    every: Mapping[str, Any]
    selected: tuple[str, ...]
    _outputs: OutputCount = dataclasses.field(default_factory=OutputCount, repr=False)
    _plans: Memo[frozenset[str]] = dataclasses.field(default_factory=Memo, repr=False)
    _passes: Passes = dataclasses.field(default_factory=Passes, repr=False)

    @classmethod
    def of(cls, function: Callable[[Any, Any], Any], params: Any, parameters: str | None = None) -> "AutogradModel":
        """Model of a function and its parameters.

        Parameters
        ----------
        function
            From (params, inputs (n, ...)) to outputs (n, C), written with ``autograd.numpy``.
        params
            Nest of dictionaries, lists and tuples of NumPy arrays, which are named by path: ``layers.0.w``. Arrays of
            integers and booleans, numbers, strings and None are constants.
        parameters
            Regular expression that the whole name of a parameter must match to be differentiated; default: all
            floating-point arrays.

        Raises
        ------
        TypeError
            A leaf of ``params`` is no array, or a selected one is not floating point.
        ValueError
            There is nothing to differentiate, or selected arrays are empty, of several dtypes or not finite.
        """
        every = named_arrays(params)
        names = selected_names(every, parameters)
        return cls(function=function, nest=filled(params, every), every=every, selected=names)

    def subset(self, pattern: str) -> "AutogradModel":
        """The same function in the parameters whose whole name matches ``pattern``."""
        return AutogradModel.of(self.function, self.nest, pattern)

    def followed_by(self, after: After) -> "AutogradModel":
        """The function and then one of its answer, in the same parameters."""
        before = self.function

        def outputs(params: Any, x: Any) -> Any:
            return followed(outputs_alone(before(params, after.inputs(x))), x, after, autograd.numpy)

        return AutogradModel(function=outputs, nest=self.nest, every=self.every, selected=self.selected)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name, in the order of the nest."""
        return {name: self.every[name] for name in self.selected}

    @property
    def state(self) -> Mapping[str, Array]:
        """All arrays of the nest by name."""
        return self.every

    @property
    def structure(self) -> Any:
        """The function."""
        return self.function

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
            The model has not been called: nothing else tells.
        """
        return self._outputs.known(FRAMEWORK.network)

    @property
    def namespace(self) -> Namespace:
        """NumPy through array-api-compat."""
        return xp

    @property
    def device(self) -> Any:
        """The host."""
        return "cpu"

    @property
    def dtype(self) -> Any:
        """Floating-point type of the selected parameters."""
        return self.every[self.selected[0]].dtype

    def __call__(self, x: Batch) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``."""
        self.check_inputs(x)
        self._passes.forward(x, lambda: self._tally(x).forward)
        outputs = self._evaluate(x)
        self._look_again(x, lambda: outputs)
        return outputs

    def check_inputs(self, x: Batch, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input.

        The first inputs of a new shape are run, as in :func:`dntk.models.adapter.examine`.
        """
        require_input(x, self, name, convert=FRAMEWORK.convert)
        self._outputs.look(x, lambda: self._examined(x))

    def gradient_blocks(self, x: Batch, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of the q functionals ⟨cotangents[q], f(x)⟩, one block per parameter.

        Cost: one forward pass and q backward passes to the outputs of layers; for parameters of unknown use another n
        forward and n · q backward passes, and n · q dense gradients in memory.
        """
        self.check_inputs(x)
        functionals = np.asarray(per_input(cotangents, batches.count(x), self.n_outputs))
        plan = self._plan(x)
        if plan:
            self._look_again(x, lambda: self._evaluate(x))
        self._passes.backward(x, len(functionals), lambda q: self._block_operations(x, q, plan), of="gradients")
        blocks = self._blocks(x, functionals, plan)
        yield from in_order(blocks.pop(name) for name in self.selected)

    def jvp(self, x: Batch, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors.

        Forward mode, one pass each; where an operation has no rule for that, the transpose of the gradient: one
        forward pass, and each direction two backward passes.
        """
        self.check_inputs(x)
        require_shape("tangents", tangents, self.n_parameters, "parameter")
        self._plan(x)
        self._passes.backward(x, tangents.shape[0], lambda q: q * self._tally(x, self.selected).total, of="jvp")
        directions: Any = np.asarray(tangents, dtype=self.dtype)
        shape = (len(directions), batches.count(x), self.n_outputs)
        try:
            rows = [self._pushed(x, direction) for direction in directions]
        except ValueError as error:
            if not isinstance(error.__cause__, NotImplementedError):
                raise
            recording = self._recorded(x)
            with differentiating():
                rows = pushed_by_transposes(recording, self.every, directions)
        return np.asarray(rows, dtype=self.dtype).reshape(shape)

    def vjp(self, x: Batch, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters, by one backward pass."""
        self.check_inputs(x)
        require_shape("cotangents", cotangents, self.n_outputs, "output", rows=batches.count(x))
        self._plan(x)
        self._passes.backward(x, 1, lambda q: q * self._tally(x, self.selected).total, of="vjp")
        found = self._gradients(x, np.asarray(cotangents))
        return np.concatenate([np.reshape(found[name], -1) for name in self.selected])

    def _examined(self, x: Any) -> int:
        outputs = examine(self._evaluate, x, FRAMEWORK, agree=alike)
        if recording():  # twice those that are looked at, and two of them alone
            count(flops=(2 * min(PROBES, batches.count(x)) + 2) * self._tally(x).forward)
        return outputs

    def _look_again(self, x: Any, outputs: Callable[[], Any]) -> None:
        """Whether the last inputs of a large batch have outputs of their own; ``outputs`` are those of all."""
        self._outputs.look_again(x, lambda: require_own_rows(self._evaluate, x, outputs(), FRAMEWORK, agree=alike))

    def _tally(self, x: Any, selected: Collection[str] = ()) -> Tally:
        """Operations of one input."""
        return tallied(self._at(batches.first(x)), self.every, selected)

    def _block_operations(self, x: Any, functionals: int, layered: frozenset[str]) -> int:
        """One input's passes to the outputs of layers, and those of its own for parameters of unknown use."""
        total = 0
        if layered:
            tally = self._tally(x, layered)
            total += tally.forward + functionals * tally.inner
        rest = set(self.selected) - layered
        if rest:
            tally = self._tally(x, rest)
            total += tally.forward + functionals * (tally.inner + tally.parameters)
        return total

    def _evaluate(self, x: Any) -> Any:
        """Outputs (n, C), or a ``ValueError`` that says why not."""
        return evaluate(lambda points: self._at(points)({}), x, FRAMEWORK).astype(self.dtype, copy=False)

    def _at(self, x: Any) -> Function:
        """The function of parameters at a copy of ``x``."""

        def outputs(values: Mapping[str, Any]) -> Any:
            return outputs_alone(self.function(filled(self.nest, values), mapped(np.array, x)))

        return outputs

    def _blocks(self, x: Any, cotangents: Any, layered: frozenset[str]) -> dict[str, GradientBlock]:
        """Blocks of all selected parameters: closed forms where the probe confirmed them and the graph has them."""
        known = {name: self.every[name] for name in self.selected if name in layered}
        blocks = layer_blocks(self._at(x), known, cotangents) if known else {}
        rest = {name: self.every[name] for name in self.selected if name not in blocks}
        if rest:
            functions = [self._at(batches.span(x, row, row + 1)) for row in range(batches.count(x))]
            blocks |= looped_blocks(functions, rest, cotangents)
        return blocks

    def _plan(self, x: Any) -> frozenset[str]:
        """Parameters whose closed forms agree with autograd's gradient on the first few inputs."""
        return self._plans(x, lambda: self._counted_plan(batches.first(x, PROBES)))

    def _counted_plan(self, x: Any) -> frozenset[str]:
        plan = self._confirmed(x)
        if recording():  # a forward pass, the gradient, closed forms of all, and what the plan does
            tally = self._tally(x, self.selected)
            compared = 3 * tally.forward + 2 * tally.inner + tally.parameters
            count(flops=batches.count(x) * (compared + self._block_operations(x, 1, plan)))
        return plan

    def _confirmed(self, x: Any) -> frozenset[str]:
        draws = np.random.default_rng(0)
        weights = draws.normal(size=batches.count(x)).astype(self.dtype)
        functionals = draws.normal(size=(batches.count(x), self.n_outputs)).astype(self.dtype)
        require_influence(self._recorded(x).end)
        gradients = self._gradients(x, weights[:, None] * functionals)
        closed = layer_blocks(self._at(x), self.parameters, functionals[None])
        layered = agreeing(closed, weights, gradients)
        looped = self._blocks(x, functionals[None], frozenset(layered))
        require_agreement(looped, weights, gradients)
        return frozenset(layered)

    def _recorded(self, x: Any) -> Recording:
        with differentiating():
            recording = recorded(self._at(x), self.parameters)
        require_outputs(recording.outputs, batches.count(x), FRAMEWORK)
        return recording

    def _gradients(self, x: Any, cotangents: Any) -> dict[str, Any]:
        """Gradients of Σ ⟨cotangents, outputs⟩ by name, in the shape and dtype of the parameters."""
        recording = self._recorded(x)
        with differentiating():
            found = recording.pull(cotangents, recording.roots.values())
        return {
            name: np.asarray(found.get(root, np.zeros_like(self.every[name])), dtype=self.dtype)
            for name, root in recording.roots.items()
        }

    def _pushed(self, x: Any, direction: Any) -> Any:
        values, tangents = self.parameters, split(direction, self.parameters)
        with differentiating():
            pushed = pushed_forward(self._at(x), values, tangents)
        return np.zeros((batches.count(x), self.n_outputs), self.dtype) if pushed is None else pushed
