"""Every way to sketched features that is compared: dntk, the floor, TRAK, dattri, scikit-learn, plain PyTorch.

A way's ``prepare`` takes a task and gives a function of a seed that returns features (q, n, k): of all ten outputs for
dntk, of output 0 for the others, who project the gradients of one output after the other and take ten times as long
for ten. Versions that this was written for: traker 0.3.2, dattri 0.3.0, scikit-learn 1.9, PyTorch 2.13.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import torch
from ntk_networks import N_OUTPUTS, Case
from ntk_peers import Problem, _floor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

import dntk

_ROWS = 2**28
"""Entries of the per-sample gradients that are made at once: 1 GiB."""

_SPREAD = 1.5365**0.5
"""The error at confidence 0.5 over its root mean square, as :func:`dntk.sketch.choose` has it."""

_CHUNK = 2**24
"""Entries of a Gaussian matrix that are drawn at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A network, points, and the number k of features."""

    case: Case
    dim: int
    net: Any
    x: torch.Tensor

    @classmethod
    def of(cls, case: Case, dim: int, n: int) -> "Task":
        """Task with float32 weights and points."""
        return cls(case=case, dim=dim, net=case.network(), x=case.points(n))


Work = Callable[[int], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to features; ``outputs`` of the ten that one call gives, ``package`` what it needs besides dntk."""

    name: str
    prepare: Callable[[Task], Work]
    outputs: int = 1
    package: str | None = None
    requirement: str = ""

    def why_not(self) -> str | None:
        """How to get the package where it is not installed."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"not installed: {self.requirement}"


def _features(sketch_of: Callable[[Any, Task], Any]) -> Callable[[Task], Work]:
    def prepare(task: Task) -> Work:
        model = dntk.as_model(task.net)
        sketch = sketch_of(model, task)
        return lambda seed: dntk.tangent_features(model, task.x, sketch=dataclasses.replace(sketch, seed=seed)).values

    return prepare


def _chosen(model: Any, task: Task) -> Any:
    """The cheapest plan of k features with about 4/3 of the error that the best sketch of a flat kernel has.

    That is √(2/k): 0.022 for 4,096. Kernels with many eigenvalues need more, and get steps of a fifth.
    """
    error = 4 / 3 * (2 / task.dim) ** 0.5 * _SPREAD
    for _ in range(12):
        try:
            plan = dntk.sketch.choose(
                model, task.x, n=task.x.shape[0], error=error, confidence=0.5, dim=task.dim, points=4
            )
        except ValueError:  # k is too small for so little
            error *= 1.2
            continue
        return plan.sketch
    msg = f"k = {task.dim} meets no error up to {error:.2g} on {task.case.name}."
    raise ValueError(msg)


def _sparse(_: Any, task: Task) -> Any:
    return dntk.sketch.SparseSign(task.dim)


def _tensor(_: Any, task: Task) -> Any:
    return dntk.sketch.TensorSketch(task.dim)


def _mixed(_: Any, task: Task) -> Any:
    return dntk.sketch.Mixed(task.dim, inner=64)


def _floor_of(task: Task) -> Work:
    work = _floor(Problem(case=task.case, mode="each", net=task.net, x=task.x))
    return lambda _: work()


def gradients(task: Task) -> Iterator[torch.Tensor]:
    """Per-sample gradients (rows, P) of output 0 by ``vmap(grad)``, as many inputs at once as fit 1 GiB."""
    params = {name: value.detach() for name, value in task.net.named_parameters()}

    def output(values: Any, point: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return functional_call(task.net, values, (point[None],))[0, 0]

    per_sample = vmap(grad(output), (None, 0))
    for points in task.x.split(max(1, _ROWS // _size(task))):
        yield torch.cat([g.flatten(1) for g in per_sample(params, points).values()], dim=1)


def _size(task: Task) -> int:
    return sum(p.numel() for p in task.net.parameters())


def _projected(projection: Callable[[Task], Callable[[torch.Tensor, int], torch.Tensor]]) -> Callable[[Task], Work]:
    def prepare(task: Task) -> Work:
        project = projection(task)
        return lambda seed: torch.cat([project(rows, seed) for rows in gradients(task)])[None]

    return prepare


def _trak(task: Task) -> Callable[[torch.Tensor, int], torch.Tensor]:
    from trak.projectors import BasicProjector

    projector = BasicProjector(_size(task), task.dim, 0, "normal", "cpu")
    # Its entries are N(0, 1): here as everywhere else E[SᵀS] = I.
    return lambda rows, seed: projector.project(rows, model_id=seed) * task.dim**-0.5


def _dattri(task: Task) -> Callable[[torch.Tensor, int], torch.Tensor]:
    from dattri.func.projection import BasicProjector, ProjectionType

    projector = BasicProjector(_size(task), task.dim, 0, ProjectionType.normal, "cpu")
    return lambda rows, seed: projector.project(rows, ensemble_id=seed)


def _scikit_learn(task: Task) -> Callable[[torch.Tensor, int], torch.Tensor]:
    from sklearn.random_projection import SparseRandomProjection

    def project(rows: torch.Tensor, seed: int) -> torch.Tensor:
        projection = SparseRandomProjection(task.dim, random_state=seed, dense_output=True)
        return torch.from_numpy(projection.fit_transform(rows.numpy())).to(rows.dtype)

    return project


def _gaussian(task: Task) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """A Gaussian matrix, drawn and multiplied chunk by chunk."""

    def project(rows: torch.Tensor, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        total = torch.zeros(rows.shape[0], task.dim)
        for piece in rows.split(_CHUNK // task.dim, dim=1):
            total += piece @ torch.randn(piece.shape[1], task.dim, generator=generator)
        return total * task.dim**-0.5

    return project


def _sjlt(nonzeros: int) -> Callable[[Task], Callable[[torch.Tensor, int], torch.Tensor]]:
    """Random rows and signs for every coordinate, added by ``index_add_``."""

    def projection(task: Task) -> Callable[[torch.Tensor, int], torch.Tensor]:
        def project(rows: torch.Tensor, seed: int) -> torch.Tensor:
            generator = torch.Generator().manual_seed(seed)
            total = torch.zeros(rows.shape[0], task.dim)
            for _ in range(nonzeros):
                index = torch.randint(task.dim, (rows.shape[1],), generator=generator)
                signs = torch.randint(2, (rows.shape[1],), generator=generator) * 2.0 - 1
                total.index_add_(1, index, rows * signs)
            return total * nonzeros**-0.5

        return project

    return projection


CHOSEN = Way(name="dntk chosen", prepare=_features(_chosen), outputs=N_OUTPUTS)
FLOOR = Way(name="floor", prepare=_floor_of, outputs=N_OUTPUTS)
WAYS = (
    CHOSEN,
    FLOOR,
    Way(name="dntk Mixed 64", prepare=_features(_mixed), outputs=N_OUTPUTS),
    Way(name="dntk SparseSign", prepare=_features(_sparse), outputs=N_OUTPUTS),
    Way(name="dntk TensorSketch", prepare=_features(_tensor), outputs=N_OUTPUTS),
    Way(name="vmap(grad) + SJLT 1", prepare=_projected(_sjlt(1))),
    Way(name="vmap(grad) + SJLT 8", prepare=_projected(_sjlt(8))),
    Way(
        name="scikit-learn SparseRandomProjection",
        prepare=_projected(_scikit_learn),
        package="sklearn",
        requirement="pip install scikit-learn",
    ),
    Way(name="vmap(grad) + Gaussian", prepare=_projected(_gaussian)),
    Way(
        name="dattri BasicProjector",
        prepare=_projected(_dattri),
        package="dattri",
        requirement="pip install --no-deps dattri==0.3.0",
    ),
    Way(
        name="TRAK BasicProjector",
        prepare=_projected(_trak),
        package="trak",
        requirement="pip install tqdm && pip install --no-deps traker==0.3.2",
    ),
)
