"""A random functional of a network, with which ways to its derivatives are compared."""

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping

import torch

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.models import batches
from dntk.models.adapter import PROBES
from dntk.models.nests import leaves, mapped
from dntk.types import Batch
from dntk_torch._ways import kinds_of_operations
from dntk_torch.behaviour import evaluated, tolerance
from dntk_torch.called import device_of
from dntk_torch.execution import detached, differentiable, own_precision
from dntk_torch.per_sample import Push, gradient, unreached
from dntk_torch.precision import Coarsest, in_single_precision
from dntk_torch.private_copy import Values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Test:
    """A random functional Σ_i w_i ⟨u, f(x_i)⟩ with autograd's gradient of it."""

    module: torch.nn.Module
    x: Batch
    weights: torch.Tensor
    functional: torch.Tensor
    gradients: Mapping[str, torch.Tensor]
    unreached: frozenset[str]
    rounding: float
    epsilon: float
    narrow: torch.dtype | None

    @property
    def outputs_shape(self) -> tuple[int, int]:
        """Shape (n, C) of the outputs."""
        return batches.count(self.x), self.functional.shape[0]

    @classmethod
    def first(cls, module: torch.nn.Module, x: Batch, names: tuple[str, ...]) -> tuple[Batch, "Test"]:
        """The first few inputs of a batch that have a gradient, and a test at these, in single precision.

        Texts that are masked throughout have none, whatever the network is. Where none has, the first few decide.
        """
        windows = itertools.islice(arrays.spans(batches.count(x), PROBES), _WINDOWS)
        for start, stop in windows:
            few = batches.span(x, start, stop)
            with contextlib.suppress(_VanishingError):
                return few, cls.draw(*in_single_precision(module, few), names)
        few = batches.first(x, PROBES)
        return few, cls.at(module, few, names)

    @classmethod
    def at(cls, module: torch.nn.Module, few: Batch, names: tuple[str, ...]) -> "Test":
        """A test at given inputs, in single precision."""
        return cls.draw(*in_single_precision(module, few), names, vanishing=True)

    @property
    def untold(self) -> frozenset[str]:
        """Parameters without a gradient at these inputs, of which every form would pass."""
        return frozenset(name for name, grad in self.gradients.items() if not bool(grad.any()))

    @classmethod
    def draw(cls, module: torch.nn.Module, x: Batch, names: tuple[str, ...], *, vanishing: bool = False) -> "Test":
        """Test for a module at some inputs; the random numbers are fixed and not the caller's.

        Where all gradients vanish the test says nothing, and is made only if asked for.
        """
        floating = [name for name, value in module.named_parameters() if value.is_floating_point()]
        values = detached(module, floating)
        with differentiable(device_of(x)):
            with Coarsest() as made:
                outputs = evaluated(module, values, x)
            generator = torch.Generator().manual_seed(20)
            weights = torch.randn(batches.count(x), generator=generator, dtype=torch.float64).to(outputs)
            functional = torch.randn(outputs.shape[1], generator=generator, dtype=torch.float64).to(outputs)
            cotangents = weights[:, None] * functional
            if not outputs.requires_grad:
                raise ValueError(_NO_GRADIENT)
            found = _gradients(outputs, [values[name] for name in floating], cotangents)
            if not any(bool(grad.any()) for grad in found):  # it says nothing of later inputs
                if not vanishing:
                    raise _VanishingError
                _require_some_gradient(module, values, x, cotangents)
            missing = unreached(outputs, {name: values[name] for name in names})
        # Where a gradient vanishes in exact arithmetic (a bias before a normalisation), what
        # remains is rounding of the size of the other parameters' gradients.
        scale = torch.stack([grad.double().norm() for grad in found]).norm()
        every = dict(zip(floating, found, strict=True))
        return cls(
            module=module,
            x=x,
            weights=weights,
            functional=functional,
            gradients={name: every[name] for name in names},
            unreached=missing,
            rounding=100 * max(made.epsilon, *(arrays.epsilon(value) for value in (outputs, *found))) * float(scale),
            epsilon=made.epsilon,
            narrow=made.narrow,
        )

    def passes(self, block: GradientBlock) -> bool:
        """Whether Σ_i w_i G_i of the block is the gradient, to rounding."""
        expected = self.gradients[block.name].flatten()
        if block.size != expected.shape[0]:
            return False
        total = torch.zeros_like(expected)
        with own_precision(expected.device):
            for start, values in block.chunks(2**20):
                total[start : start + values.shape[2]] = self.weights.to(values.dtype) @ values[0]
        error = float((total - expected).norm())
        return error <= max(tolerance(expected), self._half) * float(expected.norm()) + self.rounding

    @property
    def _half(self) -> float:
        """Half the digits of the coarsest numbers inside the network."""
        return 3 * self.epsilon**0.5

    def passes_push(self, push: Push, share: float) -> bool:
        """Whether Σ_i w_i ⟨u, J_i τ⟩ = ⟨∇, τ⟩ for random τ, to a ``share`` of the tolerance."""
        generator = torch.Generator().manual_seed(21)
        tangents = {
            name: torch.randn(grad.shape, generator=generator, dtype=torch.float64).to(grad)
            for name, grad in self.gradients.items()
        }
        pushed = push(self.module, {name: value[None] for name, value in tangents.items()}, self.x)
        expected: float = sum(float((grad * tangents[name]).sum()) for name, grad in self.gradients.items())
        size: float = sum(float(grad.norm()) ** 2 for grad in self.gradients.values()) ** 0.5
        with own_precision(device_of(self.x)):
            error = abs(float(self.weights @ (pushed[0] @ self.functional)) - expected)
        coarsest = max(self._half, *(tolerance(value) for value in (self.functional, *self.gradients.values())))
        return error <= share * coarsest * size + self.rounding


_NO_GRADIENT = (
    "the network's outputs carry no gradient of any parameter: does its forward run under torch.no_grad(), detach, "
    "or round?"
)
_FLAT = frozenset(
    {"RoundBackward0", "RoundBackward1", "FloorBackward0", "CeilBackward0", "TruncBackward0", "SignBackward0"}
)
"""Operations of autograd's graph whose derivative is zero everywhere."""

_WINDOWS = 64
"""Times a few inputs among which some with a gradient are looked for."""


class _VanishingError(Exception):
    """No parameter has a gradient at some inputs."""


def _require_some_gradient(module: torch.nn.Module, values: Values, x: Batch, cotangents: torch.Tensor) -> None:
    """Raise ``ValueError`` where gradients vanish at random parameters and inputs, too.

    A network of dead units has some there, and one without biases, which has none at blank inputs. One that takes whole
    numbers is refused only where an operation's derivative is zero everywhere.
    """
    generator = torch.Generator().manual_seed(21)

    def drawn(value: torch.Tensor) -> torch.Tensor:
        return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)

    def moved(part: torch.Tensor) -> torch.Tensor:
        return part.detach() + drawn(part) if part.is_floating_point() else part

    others = {name: drawn(value).requires_grad_() if value.requires_grad else value for name, value in values.items()}
    asked = [value for value in others.values() if value.requires_grad]
    for change in (moved, lambda part: _shown(moved(part))):
        outputs = evaluated(module, others, mapped(change, x))
        if any(bool(grad.any()) for grad in _gradients(outputs, asked, cotangents)):
            return
    gates = any(not part.is_floating_point() for _, part in leaves(x))  # nobody knows which whole number opens one
    if not gates or _FLAT & kinds_of_operations(outputs):
        raise ValueError(_NO_GRADIENT)


def _shown(part: torch.Tensor) -> torch.Tensor:
    """What may be a mask that hides everything, as one that hides nothing.

    Integers may be positions in a table of one row; on a GPU a position that is none would end all work there.
    """
    if part.dtype == torch.bool and bool((part == part.flatten()[0]).all()):
        return ~part
    if not part.is_floating_point() and part.device.type == "cpu" and not bool(part.any()):
        return torch.ones_like(part)
    return part


def _gradients(outputs: torch.Tensor, parameters: list[torch.Tensor], cotangents: torch.Tensor) -> list[torch.Tensor]:
    try:
        return gradient(outputs, parameters, cotangents)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        msg = f"autograd cannot differentiate the network in its parameters: {error}"
        raise ValueError(msg) from error
