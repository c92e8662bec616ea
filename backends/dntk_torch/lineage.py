"""What the tensors of a forward pass are made of.

A weight that is standardised, a table of positions that is looked up, the halves of a bias that are joined: such values
are functions of parameters and constants alone, whatever the inputs. Where one meets the inputs in a function with a
rule, the rule gives the gradient in the value, and the graph of the value takes it back to the parameters.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils.weak import WeakIdKeyDictionary

from dntk.gradient_blocks import DenseBlock, GradientBlock
from dntk_torch.process_wide import quiet


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """A value of no inputs, with the way back from it to one parameter."""

    value: torch.Tensor
    parameter: torch.Tensor

    def pulled(self, block: GradientBlock, name: str) -> DenseBlock:
        """The gradient in the parameter, from that in the value: one product of its derivative for every gradient.

        Cost: that of q · n backward passes through what made the value, and q · n · p numbers.
        """
        dense: Any = block.dense()
        rows = dense.flatten(0, 1).unflatten(1, self.value.shape).to(self.value.dtype)
        found = self._at_once(rows)
        return DenseBlock(name=name, offset=0, values=found.to(dense.dtype).reshape(*dense.shape[:2], -1))

    def _at_once(self, rows: torch.Tensor) -> torch.Tensor:
        try:
            with quiet():
                return self._gradient(rows, at_once=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operation that vmap does not know
            return torch.stack([self._gradient(row, at_once=False) for row in rows])

    def _gradient(self, cotangents: torch.Tensor, *, at_once: bool) -> torch.Tensor:
        (found,) = torch.autograd.grad(
            self.value, self.parameter, cotangents, retain_graph=True, allow_unused=True, is_grads_batched=at_once
        )
        if found is None:
            return cotangents.new_zeros((*cotangents.shape[: int(at_once)], *self.parameter.shape))
        gradient: torch.Tensor = found.to_dense().detach()
        return gradient


class Cut(NamedTuple):
    """A leaf in place of a value made of the parameters ``names``, beyond which passes back do not go by themselves."""

    leaf: torch.Tensor
    value: torch.Tensor
    names: frozenset[str]


class Lineage:
    """Follows parameters and constants through functions; what is made of anything else is of the inputs."""

    def __init__(self, parameters: Mapping[str, torch.Tensor], constants: Iterable[torch.Tensor]) -> None:
        self._parameters = {id(value): name for name, value in parameters.items()}
        self._alive = [*parameters.values()]
        self._made: Any = WeakIdKeyDictionary()
        self._constants: Any = WeakIdKeyDictionary()
        for value in constants:
            self._constants[value] = True

    def parameter(self, value: torch.Tensor) -> str | None:
        """Name of the parameter that a tensor is, or is a view of."""
        base = value._base
        return self._parameters.get(id(value if base is None else base))

    def names(self, value: torch.Tensor) -> frozenset[str]:
        """The parameters of which, and of constants, a tensor is made; none for all others."""
        name = self.parameter(value)
        return frozenset([name]) if name is not None else self._made.get(value, frozenset())

    def without_inputs(self, values: Any) -> bool:
        """Whether nothing in nested arguments comes from the inputs."""
        return all(self.names(value) or self._is_constant(value) for value in tensors(values))

    def note(self, arguments: Any, output: Any) -> frozenset[str]:
        """Remember what the output of a function without inputs is made of; names whose trace is lost there."""
        given = frozenset().union(*(self.names(value) for value in tensors(arguments)))
        made = list(tensors(output))
        for value in made:
            if not value.requires_grad:
                self._constants[value] = True
            elif self.parameter(value) is None:
                self._made[value] = given
        return given if output is None else frozenset()  # such as one that writes into an argument

    def _is_constant(self, value: torch.Tensor) -> bool:
        base = value._base
        return value in self._constants or (base is not None and base in self._constants)


def constants_of(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Buffers, and tensors that modules hold as plain attributes."""
    yield from module.buffers()
    for part in module.modules():
        for value in tensors([value for name, value in vars(part).items() if not name.startswith("_")]):
            if not value.requires_grad:
                yield value


def tensors(values: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested arguments."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors(value)
    elif isinstance(values, dict):
        yield from tensors(list(values.values()))
