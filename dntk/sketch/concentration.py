"""How concentrated the gradients of every layer are on few directions: what decides the error of reducing it."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.gradient_blocks import FactoredBlock, GradientBlock, IndexedBlock
from dntk.models import batches
from dntk.models.base import Model
from dntk.models.batching import choose_batch_size
from dntk.outputs import FeatureOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.sketch.layout import Layout, factors_in, layout_of
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerProbe:
    """One parameter of a network, or a part of one, seen on a few inputs.

    ``rows``, ``columns`` and ``positions`` are b, a and t of gradients Σ_t g_t ⊗ a_t; a parameter without factors is a
    matrix of one column and zero positions. ``spread`` is Σ_ij ‖X_iᵀX_j‖_F² over the squared norm of the mean kernel,
    both of n inputs, the mean over outputs (0 without factors); ``rho`` its own ρ = ‖XᵀX‖_F²/‖X‖_F⁴, a mean over
    inputs; ``share`` its share of the trace.
    """

    name: str
    rows: int
    columns: int
    positions: int
    spread: float
    rho: float
    share: float

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.rows * self.columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkProbe:
    """All parameters, and sums over pairs of n inputs relative to the squared norm of the mean kernel.

    ``norms`` is Σ_ij ‖φ_i‖²‖φ_j‖² and ``kernel`` Σ_ij K_ij², means over outputs; ``functionals`` the number of these.
    """

    layers: tuple[LayerProbe, ...]
    norms: float
    kernel: float
    functionals: int


def probe(model: Model, x: Array, outputs: FeatureOutputs, n: int) -> NetworkProbe:
    """Layers of a network on the inputs ``x``, as many as fit one batch, with sums extrapolated to n inputs alike.

    Raises
    ------
    ValueError
        The kernel is zero on ``x``.
    """
    xp, layout = model.namespace, layout_of(model)
    dtype = arrays.kernel_dtype(xp, model.dtype)
    cotangents = cotangents_for(outputs, model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    x = batches.first(x, choose_batch_size(model, x, cotangents, None))
    found = []
    for block in model.gradient_blocks(x, cotangents):
        parts = block.separated() if isinstance(block, FactoredBlock) else (block,)
        found += [(*_shape(layout, part), _host(part.gram(part)), _pairs(layout, part)) for part in parts]
    kernel = np.sum([gram for *_, gram, _ in found], axis=0)
    scale = _extrapolated(np.mean(kernel, axis=0) ** 2, n)
    if scale == 0:
        msg = (
            "the kernel is zero on the inputs looked at: no parameter changes an output, no relative error is defined."
        )
        raise ValueError(msg)
    traces = np.trace(kernel, axis1=1, axis2=2)
    layers = []
    for name, rows, columns, positions, gram, pairs in found:
        own = np.diagonal(gram, axis1=1, axis2=2)
        layers.append(
            LayerProbe(
                name=name,
                rows=rows,
                columns=columns,
                positions=positions,
                spread=0.0 if pairs is None else _extrapolated(np.mean(pairs, axis=0), n) / scale,
                rho=0.0 if pairs is None else _rho(pairs, own),
                share=float(np.sum(own) / np.sum(traces)),
            )
        )
    norms = np.diagonal(kernel, axis1=1, axis2=2)
    return NetworkProbe(
        layers=_by_name(layers),
        norms=_extrapolated(np.mean(norms[:, :, None] * norms[:, None, :], axis=0), n) / scale,
        kernel=_extrapolated(np.mean(kernel**2, axis=0), n) / scale,
        functionals=cotangents.shape[0],
    )


def _by_name(layers: Sequence[LayerProbe]) -> tuple[LayerProbe, ...]:
    """Rows of one matrix that belong to several blocks, as in packed projections, as one layer.

    ‖Σ X_lᵀX_l‖_F ≤ Σ‖X_lᵀX_l‖_F over its parts, so that spread and ρ are bounds then.
    """
    parts: dict[str, list[LayerProbe]] = {}
    for layer in layers:
        parts.setdefault(layer.name, []).append(layer)
    return tuple(found[0] if len(found) == 1 else _together(found) for found in parts.values())


def _together(parts: Sequence[LayerProbe]) -> LayerProbe:
    share = sum(part.share for part in parts)
    norms = sum(part.rho**0.5 * part.share for part in parts)
    return LayerProbe(
        name=parts[0].name,
        rows=sum(part.rows for part in parts),
        columns=parts[0].columns,
        positions=min(part.positions for part in parts) and max(part.positions for part in parts),
        spread=sum(part.spread**0.5 for part in parts) ** 2,
        rho=(norms / share) ** 2 if share > 0 else 0.0,
        share=share,
    )


def _shape(layout: Layout, block: GradientBlock) -> tuple[str, int, int, int]:
    """Name in the layout, and b, a, t of a block."""
    name = next(matrix.name for matrix in layout if matrix.offset <= block.offset < matrix.stop)
    factors = factors_in(layout, block)
    if factors is not None:
        _, left, right = factors
        return name, left.shape[3], right.shape[3], left.shape[2]
    if isinstance(block, IndexedBlock):
        return name, block.rows, block.cotangents.shape[3], block.ids.shape[1]
    return name, block.size, 1, 0


def _pairs(layout: Layout, block: GradientBlock) -> np.ndarray | None:
    """‖X_iᵀX_j‖_F² (q, n, n) of the matrices of a block with factors, ``None`` without.

    With M = G_iG_jᵀ and A_iA_iᵀ, t × t each, it is Σ (M A_jA_jᵀ) ∘ (A_iA_iᵀ M); with more positions than rows it is
    ⟨X_iX_iᵀ, X_jX_jᵀ⟩ of the expanded matrices.
    """
    if isinstance(block, IndexedBlock):
        xp = arrays.namespace(block.cotangents)
        same = xp.astype(block.ids[:, None, :, None] == block.ids[None, :, None, :], block.cotangents.dtype)
        grams = block.cotangents @ block.cotangents.mT
        return np.stack([_by_positions(same, grams[c, ...]) for c in range(grams.shape[0])])
    factors = factors_in(layout, block)
    if factors is None:
        return None
    _, left, right = factors
    q, (t, rows) = block.shape[0], left.shape[2:]
    found = []
    for c in range(q):
        one, two = left[min(c, left.shape[0] - 1), ...], right[min(c, right.shape[0] - 1), ...]
        if t <= rows:
            found.append(_by_positions(one[:, None, ...] @ one[None, ...].mT, two @ two.mT))
        else:
            found.append(_by_rows(one.mT @ two))
    return np.stack(found)


def _by_positions(across: Float[Array, "n n t t"], own: Float[Array, "n t t"]) -> np.ndarray:
    xp = arrays.namespace(across)
    return _host(xp.sum((across @ own[None, ...]) * (own[:, None, ...] @ across), axis=(2, 3)))


def _by_rows(x: Float[Array, "n b a"]) -> np.ndarray:
    xp = arrays.namespace(x)
    squares = xp.reshape(x @ x.mT, (x.shape[0], -1))
    return _host(squares @ squares.T)


def _extrapolated(pairs: np.ndarray, n: int) -> float:
    """Sum over pairs of n inputs, from its means over equal and over different ones of the probe."""
    p = pairs.shape[0]
    equal = float(np.trace(pairs)) / p
    different = (float(np.sum(pairs)) - p * equal) / (p * (p - 1)) if p > 1 else equal
    return n * equal + n * (n - 1) * different


def _rho(pairs: np.ndarray, own: np.ndarray) -> float:
    """Mean ρ of the inputs and outputs whose gradient is not zero."""
    alive = own > 0
    ratios: Sequence[float] = np.diagonal(pairs, axis1=1, axis2=2)[alive] / own[alive] ** 2
    return float(np.mean(ratios)) if math.prod(np.shape(ratios)) else 0.0


def _host(x: Array) -> np.ndarray:
    return np.asarray(backend_of(x).to_numpy(x), dtype=np.float64)
