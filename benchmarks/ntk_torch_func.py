"""Kernels by ``torch.func``: per-sample gradients and one product, and both ways of its tutorial.

The tutorial (*Neural tangent kernels*, PyTorch documentation) contracts two Jacobians, or multiplies the kernel with
vectors: a vector-Jacobian product, then a Jacobian-vector product, mapped over both sets of inputs.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from ntk_networks import N_OUTPUTS
from ntk_peers import Peer, Problem, by_functional
from torch.func import functional_call, grad, jacrev, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

_CONTRACTIONS = {"full": "naf,mbf->nmab", "mean": "naf,maf->nm", "each": "naf,maf->anm"}
_DIAGONALS = {"mean": "nmaa->nm", "each": "nmaa->anm"}


def _parameters(problem: Problem) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in problem.net.named_parameters()}


def _single(problem: Problem, params: dict[str, torch.Tensor], point: torch.Tensor) -> Any:
    # Under vmap, attention in one fused operation would run input by input.
    with sdpa_kernel(SDPBackend.MATH):
        return functional_call(problem.net, params, (point[None],))[0]


def _vmap_grad(problem: Problem) -> Callable[[], Any]:
    """Per-sample gradients of one functional, flattened, times their transpose; functionals in turn."""
    params = _parameters(problem)

    def kernel(u: torch.Tensor) -> torch.Tensor:
        def functional(values: Any, point: torch.Tensor) -> torch.Tensor:
            return _single(problem, values, point) @ u

        rows = vmap(grad(functional), (None, 0))(params, problem.x)
        flat = torch.cat([r.flatten(1) for r in rows.values()], dim=1)
        return flat @ flat.T

    return lambda: by_functional(problem.mode, (kernel(u) for u in problem.functionals()))


def _jacobian_contraction(problem: Problem) -> Callable[[], Any]:
    params, equation = _parameters(problem), _CONTRACTIONS[problem.mode]
    single = functools.partial(_single, problem)

    def jacobian() -> list[torch.Tensor]:
        return [j.flatten(2) for j in vmap(jacrev(single), (None, 0))(params, problem.x).values()]

    def work() -> torch.Tensor:
        # The tutorial's function takes two sets of inputs and differentiates at each, equal or not.
        pairs = zip(jacobian(), jacobian(), strict=True)
        found = torch.stack([torch.einsum(equation, a, b) for a, b in pairs]).sum(0)
        return found / N_OUTPUTS if problem.mode == "mean" else found

    return work


def _vector_products(chunk: int | None, problem: Problem) -> Callable[[], Any]:
    params = _parameters(problem)

    def pair(x1: torch.Tensor, x2: torch.Tensor) -> Any:
        def at(point: torch.Tensor) -> Callable[[Any], Any]:
            return lambda values: _single(problem, values, point)

        output, pull = vjp(at(x1), params)

        def product(u: torch.Tensor) -> Any:
            return jvp(at(x2), (params,), pull(u))[1]

        return vmap(product)(torch.eye(output.numel(), dtype=output.dtype, device=output.device))

    def work() -> torch.Tensor:
        found = vmap(vmap(pair, (None, 0)), (0, None), chunk_size=chunk)(problem.x, problem.x)
        if problem.mode == "full":
            return found
        found = torch.einsum(_DIAGONALS[problem.mode], found)
        return found / N_OUTPUTS if problem.mode == "mean" else found

    return work


def independent_kernel(problem: Problem, *, points: int = 8, budget: int = 2**27) -> torch.Tensor:
    """Kernel (r, r, ...) of the first r points by ``torch.func`` alone, in the problem's precision.

    Parameters are differentiated in groups, and r is smaller than ``points`` if need be, such that no Jacobian has
    more than ``budget`` numbers: a reference that is exact but for rounding at any size of network.
    """
    params, functionals = _parameters(problem), problem.functionals()
    largest = max(value.numel() for value in params.values())
    x = problem.x[: max(2, min(points, budget // (largest * len(functionals))))]

    def rows(some: Any, point: torch.Tensor) -> torch.Tensor:
        return functionals @ _single(problem, {**params, **some}, point)

    total: Any = 0.0
    for group in _groups(params, max(largest, budget // (len(x) * len(functionals)))):
        for jacobian in vmap(jacrev(rows), (None, 0))(group, x).values():
            total = total + torch.einsum("naf,mbf->nmab", jacobian.flatten(2), jacobian.flatten(2))
    return _as_mode(problem.mode, total)


def _groups(params: dict[str, torch.Tensor], size: int) -> list[dict[str, torch.Tensor]]:
    """Consecutive parameters of at most ``size`` numbers together."""
    groups: list[dict[str, torch.Tensor]] = [{}]
    for name, value in params.items():
        if sum(other.numel() for other in groups[-1].values()) + value.numel() > size:
            groups.append({})
        groups[-1][name] = value
    return [group for group in groups if group]


def _as_mode(mode: str, full: torch.Tensor) -> torch.Tensor:
    if mode == "full":
        return full
    each = full.diagonal(dim1=2, dim2=3).permute(2, 0, 1)
    return {"each": each, "mean": each.mean(0)}.get(mode, each[0])


_TUTORIAL = ("mean", "each", "full")

TORCH_FUNC = (
    Peer(name="torch.func vmap(grad)", prepare=_vmap_grad, modes=("sum", "one", "mean", "each")),
    Peer(name="torch.func jac-contraction", prepare=_jacobian_contraction, modes=_TUTORIAL),
    Peer(name="torch.func ntk-vps", prepare=functools.partial(_vector_products, None), modes=_TUTORIAL),
    Peer(name="torch.func ntk-vps, chunks of 2", prepare=functools.partial(_vector_products, 2), modes=_TUTORIAL),
)
