"""What calls of a network have shown, and derivatives by the ways that they showed to be right."""

import dataclasses

import torch

from dntk.models import batches
from dntk.models.adapter import Looks, Memo, OutputCount, Passes
from dntk.types import Batch
from dntk_torch import inputs
from dntk_torch._blocks import on_its_way, woken_at
from dntk_torch._evidence import inputs_showing
from dntk_torch._pushing import Pushing, make_push
from dntk_torch._signature import signature
from dntk_torch.called import Called
from dntk_torch.counting import operations_of, probed
from dntk_torch.per_sample import gradients_of, push_forward_twice_backward
from dntk_torch.private_copy import Values
from dntk_torch.probe import Plan, make_plan, plan_at


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What calls have shown."""

    outputs: OutputCount = dataclasses.field(default_factory=OutputCount)
    plans: Memo[Plan] = dataclasses.field(default_factory=Memo)
    pushes: Memo[Pushing] = dataclasses.field(default_factory=Memo)
    looks: Looks = dataclasses.field(default_factory=Looks)
    input_gradients: Memo[inputs.InputGradient] = dataclasses.field(default_factory=Memo)
    sizes: Memo[tuple[int, int]] = dataclasses.field(default_factory=Memo)
    passes: Passes = dataclasses.field(default_factory=Passes)

    def planned(self, net: Called, names: tuple[str, ...], x: Batch) -> Plan:
        """The way for every parameter, as inputs so far have shown it."""
        return self.plans(x, probed(lambda: on_its_way(net, make_plan(net, names, x))), of=signature(net))

    def planned_again(self, net: Called, names: tuple[str, ...], x: Batch, woken: frozenset[str]) -> Plan | None:
        """The way for every parameter, compared at inputs of ``x`` at which those ``woken`` have a gradient, too.

        ``None`` where that was tried for all of them, so that no parameter is looked at for ever.
        """
        known = self.planned(net, names, x)
        new = woken - known.tried
        if not new:
            return None

        def find() -> Plan:
            plan = plan_at(net, names, inputs_showing(x, new, known.shown, lambda few: woken_at(net, known, few)))
            return on_its_way(net, dataclasses.replace(plan, tried=known.tried | new))

        plan = probed(find)()
        self.plans.replace(x, plan, of=signature(net))
        return plan

    def pushed(self, net: Called, names: tuple[str, ...], x: Batch, tangents: Values) -> torch.Tensor:
        """Derivatives (q, n, C) of all outputs along tangents (q, *shape)."""
        way, telling = self.pushes(x, probed(lambda: make_push(net, names, x)), of=signature(net), enough=1)
        if not telling and self.looks.once_more(x, of=signature(net)):
            self.pushes.forget(x, of=signature(net))

        def once(q: int) -> int:
            copies = {name: value[:1].expand(q, *value.shape[1:]) for name, value in tangents.items()}
            return operations_of(lambda: way(net, copies, batches.first(x)))

        try:
            found = way(net, tangents, x)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operation without forward mode, to which no input led before
            if way is push_forward_twice_backward:
                raise
            way = push_forward_twice_backward
            found = way(net, tangents, x)
            self.pushes.replace(x, Pushing(way, telling), of=signature(net))
        self.passes.backward(x, next(iter(tangents.values())).shape[0], once, of=way)
        return found

    def pulled(self, net: Called, names: tuple[str, ...], x: Batch, cotangents: torch.Tensor) -> list[torch.Tensor]:
        """Gradients of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters."""
        first, one = batches.first(x), cotangents[:1, ...]
        self.passes.backward(
            x, 1, lambda q: operations_of(lambda: gradients_of(net, names, first, [one] * q)), of="vjp"
        )
        (gradients,) = gradients_of(net, names, x, [cotangents])
        return gradients

    def input_gradient(
        self, net: Called, names: tuple[str, ...], x: Batch, functionals: torch.Tensor, directions: Values
    ) -> torch.Tensor:
        """Gradients in the inputs of products of directions (n, q, *shape) with gradients of functionals (q, C)."""
        data = (net, names, x, functionals, directions)

        def find() -> inputs.InputGradient:
            return inputs.by_forward_mode if inputs.agreeing(*data) else inputs.by_backward_mode

        way = self.input_gradients(x, probed(find), of=signature(net), enough=1)

        def once(q: int) -> int:
            copies = {name: value[:1, :1].expand(1, q, *value.shape[2:]) for name, value in directions.items()}
            case = (net, names, batches.first(x), functionals[:1].expand(q, -1), copies)
            return operations_of(lambda: way(*case))

        self.passes.backward(x, functionals.shape[0], once, of=way)
        return way(*data)
