"""Which parameters a network's adapter differentiates in closed form, which it does not, and why."""

import dataclasses
import itertools
import math
from collections.abc import Mapping

from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterForm:
    """How one parameter is differentiated.

    ``why_not`` is empty for a closed form: the parameter's gradients for all inputs come from one forward pass and one
    backward pass per functional. Others take passes for every input, for the reason that it gives.
    """

    name: str
    size: int
    why_not: str = ""

    @property
    def closed(self) -> bool:
        """Whether it has a closed form."""
        return not self.why_not


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientForms:
    """How every selected parameter of a network is differentiated, at inputs like those that were looked at."""

    parameters: tuple[ParameterForm, ...]

    @property
    def share(self) -> float:
        """Share of all coordinates whose gradients have a closed form."""
        closed = sum(found.size for found in self.parameters if found.closed)
        return closed / sum(found.size for found in self.parameters)

    @property
    def per_input(self) -> tuple[ParameterForm, ...]:
        """Parameters that take passes for every input."""
        return tuple(found for found in self.parameters if not found.closed)

    def __str__(self) -> str:
        """A line for the network, and one for every reason with the parameters that it keeps from a closed form."""
        count, left = len(self.parameters), self.per_input
        lines = [f"{count - len(left)} of {count} parameters, {self.share:.2%} of all coordinates, in closed form"]
        by_reason = itertools.groupby(sorted(left, key=lambda found: found.why_not), key=lambda found: found.why_not)
        for reason, group in by_reason:
            found = list(group)
            shown = ", ".join(parameter.name for parameter in found[:3]) + (", ..." if len(found) > 3 else "")
            lines.append(f"{len(found)} input by input, because {reason}: {shown}")
        return "\n".join(lines)


def forms_of(parameters: Mapping[str, Array], why_not: Mapping[str, str]) -> GradientForms:
    """Forms of all parameters, with the reasons for those without a closed one."""
    return GradientForms(
        parameters=tuple(
            ParameterForm(name=name, size=math.prod(value.shape), why_not=why_not.get(name, ""))
            for name, value in parameters.items()
        )
    )
