"""Every way to an exact kernel that is compared: dntk, the floor, torch.func, nngeometry, BackPACK, asdl.

A peer's ``prepare`` takes a problem and gives a function of no arguments that computes the kernel in the shape that
``dntk.ntk`` returns. What can be done once per network (wrapping, compiling) belongs to ``prepare``.
Versions that this was written for: nngeometry 0.4, backpack-for-pytorch 1.7.1, asdfghjkl 0.1a5 (imported as ``asdl``),
PyTorch 2.13.
"""

import copy
import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from floor import floor_of
from ntk_networks import N_OUTPUTS, Case

import dntk

MODES = ("sum", "one", "mean", "each", "full")
ONE = 0  # the output of mode "one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A network, points, and which outputs the kernel is of: one of ``MODES``."""

    case: Case
    mode: str
    net: Any
    x: torch.Tensor

    @classmethod
    def of(cls, case: Case, mode: str, n: int) -> "Problem":
        """Problem with float32 weights and points."""
        return cls(case=case, mode=mode, net=case.network(), x=case.points(n))

    @property
    def outputs(self) -> Any:
        """The mode as ``dntk.ntk`` names it."""
        return ONE if self.mode == "one" else self.mode

    def functionals(self) -> torch.Tensor:
        """Rows (q, C): the linear functionals of the outputs whose gradients the kernel needs."""
        weights = next(self.net.parameters())
        identity = torch.eye(N_OUTPUTS, dtype=weights.dtype, device=weights.device)
        if self.mode == "sum":
            return identity.sum(0, keepdim=True) * N_OUTPUTS**-0.5
        return identity[ONE : ONE + 1] if self.mode == "one" else identity


Prepare = Callable[[Problem], Callable[[], Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to compute kernels; ``package`` is what it needs besides dntk and PyTorch."""

    name: str
    prepare: Prepare
    modes: tuple[str, ...] = MODES
    cases: tuple[str, ...] | None = None
    package: str | None = None
    requirement: str = ""

    def why_not(self) -> str | None:
        """How to get the package where it is not installed."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"not installed: {self.requirement}"

    def takes(self, problem_case: str, mode: str) -> bool:
        """Whether it offers the mode and has the network."""
        return mode in self.modes and (self.cases is None or problem_case in self.cases)


def by_functional(mode: str, kernels: Any) -> torch.Tensor:
    """A mode's kernel from an iterator over the kernels of its functionals, holding one at a time for a mean."""
    if mode == "each":
        return torch.stack(list(kernels))
    total = next(kernels)
    for kernel in kernels:
        total += kernel
    return total / N_OUTPUTS if mode == "mean" else total


def _dntk(problem: Problem) -> Callable[[], Any]:
    model = dntk.as_model(problem.net)
    return lambda: dntk.ntk(model, problem.x, outputs=problem.outputs)


def _floor(problem: Problem) -> Callable[[], Any]:
    """That of ``floor.py``, all points at once."""
    return floor_of(problem.net, problem.x, problem.functionals())


def _nngeometry(problem: Problem) -> Callable[[], Any]:
    from nngeometry.gram import GramMatrix
    from nngeometry.object import FMatDense
    from torch.utils.data import DataLoader, TensorDataset

    n = problem.x.shape[0]
    loader = DataLoader(TensorDataset(problem.x), batch_size=n)

    def gram(weights: torch.Tensor) -> torch.Tensor:
        matrix = GramMatrix(
            problem.net, loader, function=lambda *d: problem.net(d[0]) @ weights.T, representation=FMatDense
        )
        return matrix.to_torch()

    functionals = problem.functionals()
    if problem.mode == "full":
        return lambda: gram(functionals).permute(1, 3, 0, 2)
    return lambda: by_functional(problem.mode, (gram(u[None])[0, :, 0] for u in functionals))


def _backpack(problem: Problem) -> Callable[[], Any]:
    from backpack import backpack, extend
    from backpack.extensions import BatchGrad

    converted = problem.case.name not in ("mlp", "cnn")
    net = extend(copy.deepcopy(problem.net), use_converter=converted).eval()

    def kernel(outputs: torch.Tensor, u: torch.Tensor, *, last: bool) -> torch.Tensor:
        with backpack(BatchGrad(), retain_graph=not last):
            (outputs @ u).sum().backward(retain_graph=not last)
        rows = torch.cat([p.grad_batch.flatten(1) for p in net.parameters()], dim=1)
        for p in net.parameters():
            del p.grad_batch
            p.grad = None
        return rows @ rows.T

    def work() -> torch.Tensor:
        outputs, functionals = net(problem.x), problem.functionals()
        final = len(functionals) - 1
        return by_functional(problem.mode, (kernel(outputs, u, last=i == final) for i, u in enumerate(functionals)))

    return work


def _asdl(kind: str) -> Prepare:
    def prepare(problem: Problem) -> Callable[[], Any]:
        import asdl

        net, kernel = copy.deepcopy(problem.net), getattr(asdl, f"empirical_{kind}_ntk")

        def work() -> torch.Tensor:
            found = kernel(net, problem.x)
            if problem.mode == "mean":
                return found.mean(2)
            return found.permute(2, 0, 1) if problem.mode == "each" else found

        return work

    return prepare


_NNGEOMETRY = "pip install nngeometry, then pip uninstall torchvision where it does not match torch"
_ASDL = {"package": "asdl", "requirement": "pip install --no-deps asdfghjkl"}

DNTK = Peer(name="dntk", prepare=_dntk)
FLOOR = Peer(name="floor", prepare=_floor)
PEERS = (
    Peer(name="nngeometry FMatDense", prepare=_nngeometry, package="nngeometry", requirement=_NNGEOMETRY),
    Peer(
        name="backpack BatchGrad",
        prepare=_backpack,
        modes=("sum", "one", "mean", "each"),
        package="backpack",
        requirement="pip install backpack-for-pytorch",
    ),
    Peer(name="asdl class-wise direct", prepare=_asdl("class_wise_direct"), modes=("mean", "each"), **_ASDL),
    Peer(name="asdl class-wise hadamard", prepare=_asdl("class_wise_hadamard"), modes=("mean", "each"), **_ASDL),
    Peer(name="asdl direct", prepare=_asdl("direct"), modes=("full",), **_ASDL),
    Peer(name="asdl implicit", prepare=_asdl("implicit"), modes=("full",), **_ASDL),
)
