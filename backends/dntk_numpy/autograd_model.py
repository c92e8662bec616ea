"""Functions written with ``autograd.numpy`` as models: exact per-sample gradients of ``fn(params, x)``."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.ledger import count
from dntk.models.base import Cotangents, Model, check_placement, per_input
from dntk.types import Array, Namespace
from dntk_numpy.autograd_blocks import layer_blocks, looped_blocks
from dntk_numpy.autograd_checks import (
    PROBES,
    agreeing,
    differentiating,
    examine,
    require_agreement,
    require_columns,
    require_influence,
    require_outputs,
    selected_names,
)
from dntk_numpy.autograd_graph import Function, Recording, pushed_by_transposes, pushed_forward, recorded
from dntk_numpy.nest import filled, named_arrays


@dataclasses.dataclass
class _Findings:
    """What calls have shown, by shape of one input, and how many inputs showed it."""

    n_outputs: int | None = None
    examined: dict[Any, tuple[int, int]] = dataclasses.field(default_factory=dict)
    plans: dict[Any, tuple[int, frozenset[str]]] = dataclasses.field(default_factory=dict)


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
    _findings: _Findings = dataclasses.field(default_factory=_Findings, repr=False)

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

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name, in the order of the nest."""
        return {name: self.every[name] for name in self.selected}

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return sum(self.every[name].size for name in self.selected)

    @property
    def n_outputs(self) -> int:
        """Number C of outputs.

        Raises
        ------
        AttributeError
            The model has not been called: nothing else tells.
        """
        if self._findings.n_outputs is None:
            msg = "the number of outputs is not known before the function has seen an input: call model(x) once."
            raise AttributeError(msg)
        return self._findings.n_outputs

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

    def __call__(self, x: Array) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``."""
        self.check_inputs(x)
        return self._evaluate(x)

    def check_inputs(self, x: Array, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input.

        The first inputs of a new shape are run, to see that the function accepts them, is deterministic, and treats
        every input by itself.

        Raises
        ------
        TypeError
            ``x`` is no NumPy array, or of another dtype than the parameters.
        ValueError
            It is empty, not finite, or of a shape that the function rejects; or the function depends on the batch,
            varies between calls, or returns no array (n, C).
        """
        check_placement(x, self, name)
        arrays.require_floating(name, x)
        if x.dtype != self.dtype:
            msg = f"`{name}` has dtype {x.dtype}, but the parameters have {self.dtype}: convert one with astype."
            raise TypeError(msg)
        key, probes = x.shape[1:], min(x.shape[0], PROBES)
        found = self._findings.examined.get(key)
        # One input alone cannot show batch dependence: look again when more come.
        if found is None or found[0] < min(probes, 2):
            found = self._findings.examined[key] = (probes, examine(self._evaluate, x))
        self._findings.n_outputs = found[1]

    def gradient_blocks(self, x: Array, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of the q functionals ⟨cotangents[q], f(x)⟩, one block per parameter.

        Cost: one forward pass and q backward passes to the outputs of layers; for parameters of unknown use another n
        forward and n · q backward passes, and n · q dense gradients in memory.
        """
        self.check_inputs(x)
        functionals = np.asarray(per_input(cotangents, x.shape[0], self.n_outputs))
        blocks, offset = self._blocks(x, functionals, self._plan(x)), 0
        for name in self.selected:
            block: Any = blocks.pop(name)
            count(flops=block.backprop_flops)
            yield dataclasses.replace(block, offset=offset)
            offset += block.size

    def jvp(self, x: Array, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors.

        Forward mode, one pass each; where an operation has no rule for that, the transpose of the gradient: one
        forward pass, and each direction two backward passes.
        """
        self.check_inputs(x)
        require_columns("tangents", tangents, None, self.n_parameters, "parameter")
        self._plan(x)
        directions: Any = np.asarray(tangents, dtype=self.dtype)
        shape = (len(directions), len(x), self.n_outputs)  # type: ignore[arg-type]
        try:
            rows = [self._pushed(x, direction) for direction in directions]
        except ValueError as error:
            if not isinstance(error.__cause__, NotImplementedError):
                raise
            recording = self._recorded(x)
            with differentiating():
                rows = pushed_by_transposes(recording, self.every, directions)
        pushed: Array = np.asarray(rows, dtype=self.dtype).reshape(shape)
        return pushed

    def vjp(self, x: Array, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters, by one backward pass."""
        self.check_inputs(x)
        require_columns("cotangents", cotangents, x.shape[0], self.n_outputs, "output")
        self._plan(x)
        found = self._gradients(x, np.asarray(cotangents))
        joined: Array = np.concatenate([np.reshape(found[name], -1) for name in self.selected])
        return joined

    def _evaluate(self, x: Any) -> Any:
        """Outputs (n, C), or a ``ValueError`` that says why not."""
        try:
            outputs = self._at(x)({})
        except MemoryError:
            raise
        except Exception as error:  # any code of the user may fail in its own way
            msg = f"the function fails on inputs of shape {x.shape} and dtype {x.dtype}: {error!r}"
            raise ValueError(msg) from error
        require_outputs(outputs, x.shape[0])
        return outputs.astype(self.dtype, copy=False)

    def _at(self, x: Any) -> Function:
        """The function of parameters at a copy of ``x``."""

        def outputs(values: Mapping[str, Any]) -> Any:
            return self.function(filled(self.nest, values), np.array(x))

        return outputs

    def _blocks(self, x: Any, cotangents: Any, layered: frozenset[str]) -> dict[str, GradientBlock]:
        """Blocks of all selected parameters: closed forms where the probe confirmed them and the graph has them."""
        known = {name: self.every[name] for name in self.selected if name in layered}
        blocks = layer_blocks(self._at(x), known, cotangents) if known else {}
        rest = {name: self.every[name] for name in self.selected if name not in blocks}
        if rest:
            functions = [self._at(x[row : row + 1]) for row in range(len(x))]
            blocks |= looped_blocks(functions, rest, cotangents)
        return blocks

    def _plan(self, x: Any) -> frozenset[str]:
        """Parameters whose closed forms agree with autograd's gradient on the first few inputs."""
        key, probes = x.shape[1:], min(x.shape[0], PROBES)
        found = self._findings.plans.get(key)
        if found is None or found[0] < min(probes, 2):
            found = self._findings.plans[key] = (probes, self._confirmed(x[:probes]))
        return found[1]

    def _confirmed(self, x: Any) -> frozenset[str]:
        draws = np.random.default_rng(0)
        weights = draws.normal(size=len(x)).astype(self.dtype)
        functionals = draws.normal(size=(len(x), self.n_outputs)).astype(self.dtype)
        require_influence(self._recorded(x).end)
        gradients = self._gradients(x, weights[:, None] * functionals)
        values = {name: self.every[name] for name in self.selected}
        closed = layer_blocks(self._at(x), values, functionals[None])
        layered = agreeing(closed, weights, gradients)
        looped = self._blocks(x, functionals[None], frozenset(layered))
        require_agreement(looped, weights, gradients)
        return frozenset(layered)

    def _recorded(self, x: Any) -> Recording:
        values = {name: self.every[name] for name in self.selected}
        with differentiating():
            recording = recorded(self._at(x), values)
        require_outputs(recording.outputs, len(x))
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
        values, tangents = {name: self.every[name] for name in self.selected}, self._split(direction)
        with differentiating():
            pushed = pushed_forward(self._at(x), values, tangents)
        return np.zeros((len(x), self.n_outputs), self.dtype) if pushed is None else pushed

    def _split(self, direction: Any) -> dict[str, Any]:
        """Pieces of a parameter vector by name, in the parameters' shapes."""
        pieces, position = {}, 0
        for name in self.selected:
            value = self.every[name]
            pieces[name] = np.reshape(direction[position : position + value.size], value.shape)
            position += value.size
        return pieces
