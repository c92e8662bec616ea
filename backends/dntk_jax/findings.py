"""What calls of a network have shown, and the programs that they compiled."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from dntk.models.adapter import Memo, OutputCount, Passes
from dntk.types import Array
from dntk_jax.inputs import Layers
from dntk_jax.plan import Plan


@dataclasses.dataclass
class Findings:
    """Of one model, shared by its calls; ``forward_mode`` until an operation proves to lack it."""

    outputs: OutputCount = dataclasses.field(default_factory=OutputCount)
    plans: Memo[Plan] = dataclasses.field(default_factory=Memo)
    layers: Memo[Layers] = dataclasses.field(default_factory=Memo)
    compiled: dict[Any, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    passes: Passes = dataclasses.field(default_factory=Passes)
    forward_mode: bool = True

    def program(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """The compiled function that was first stored under ``key``, so that it is traced once per shape."""
        return self.compiled.setdefault(key, jax.jit(function))

    def forward_first(self, compute: Callable[..., Array], forward: Any, backward: Any, *data: Array) -> Array:
        """``compute`` by forward mode, or by the other way once an operation proves to lack it."""
        if self.forward_mode:
            try:
                return compute(forward, *data)
            except TypeError as error:
                if "custom_vjp" not in str(error):
                    raise
                self.forward_mode = False
        return compute(backward, *data)
