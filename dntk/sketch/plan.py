"""What :func:`dntk.sketch.choose` decided, and why."""

import dataclasses

from dntk._text import printable
from dntk.sketch.base import Sketch
from dntk.sketch.concentration import LayerProbe


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """How one parameter is sketched: reduced to ``width`` columns, or whole; ``cost`` in multiplications an input."""

    probe: LayerProbe
    width: int | None
    cost: float


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SketchPlan:
    """A sketch and the reasons for it; :func:`dntk.tangent_features` takes it as ``sketch``.

    Parameters
    ----------
    sketch
        The cheapest sketch that meets the error.
    exact_is_cheaper
        Whether the exact kernel of n inputs costs less than features by that sketch: :func:`dntk.ntk` has it.
    expected_error
        Root mean square, over seeds, of the relative Frobenius error of the mean kernel: exact or an upper bound,
        given the inputs looked at.
    error, confidence, n
        What was asked for.
    cost, exact_cost
        Of features and their kernel, and of the exact kernel, in multiplications an input.
    layers
        How every parameter is sketched.
    probed
        How many inputs were looked at.
    """

    sketch: Sketch
    exact_is_cheaper: bool
    expected_error: float
    error: float
    confidence: float
    n: int
    cost: float
    exact_cost: float
    layers: tuple[LayerPlan, ...]
    probed: int

    @printable
    def __repr__(self) -> str:
        asked = f"error {self.error:g} at confidence {self.confidence:g} for n = {self.n:,} inputs"
        if self.exact_is_cheaper:
            head = (
                f"exact layer Grams are cheaper than a sketch, {self.exact_cost:.2g} against {self.cost:.2g} "
                f"multiplications an input ({asked}). Call dntk.ntk; the cheapest sketch is {self.sketch}"
            )
        else:
            head = (
                f"{self.sketch}: {asked}; {self.cost:.2g} multiplications an input, {self.exact_cost:.2g} for the "
                "exact kernel"
            )
        known = f"on {self.probed} inputs" if self.probed else "no inputs given: one dominant eigenvalue assumed"
        lines = [head, f"expected error {self.expected_error:.3g} (root mean square over seeds; {known})"]
        return "\n".join([*lines, *(self._line(layer) for layer in self.layers if layer.probe.columns > 1)])

    def _line(self, layer: LayerPlan) -> str:
        probe = layer.probe
        how = "whole" if layer.width is None else f"reduced to {layer.width}"
        why = "" if not self.probed else f", ρ = {probe.rho:.2g}, {probe.share:.1%} of the trace"
        return (
            f"  {probe.name} ({probe.rows} × {probe.columns}, {probe.positions} positions): {how}{why}, "
            f"{layer.cost:.2g} multiplications"
        )
