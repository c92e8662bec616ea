"""Spectral clustering of points by their mean kernel, at a cost that is linear in the number of points.

The adjacency is K̄ as in the paper (arXiv 2602.11320). A spectral embedding needs weights that are not negative, which
the paper does not discuss: negative similarities count as none. No point is its own neighbour, W_ii = 0 as in Ng,
Jordan and Weiss (NIPS 2001): a kernel is largest on its diagonal, where it would outweigh the neighbours in every
degree and draw all eigenvalues of D^{-1/2}WD^{-1/2} together.
"""

import warnings

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.random import uniforms
from dntk.types import Array

EXACT_POINTS = 1024
"""Points up to which the whole adjacency is embedded."""
LANDMARKS = 512
"""Points whose adjacency is embedded, and extended to the others, beyond."""
_CHUNK = 4096
_ROUNDING = 1e-6


def spectral_clusters(phi: TangentFeatures, clusters: int, *, seed: int) -> Int[Array, " m"]:
    """Cluster of every point.

    k-means on the spectral embedding of max(K̄, 0) without its diagonal: rows D^{-1/2}v, v the leading eigenvectors of
    D^{-1/2}WD^{-1/2}. Up to :data:`EXACT_POINTS` points of all of them. Beyond, of :data:`LANDMARKS` landmarks
    (uniform, without replacement), extended to the other points by Nyström's formula: O(m·l·C·k + l³) for l landmarks,
    memory O(m·H + chunk·l), and only (l, l) and (m, H) numbers go to the host (Bengio et al., NIPS 2003).
    """
    backend, place = backend_of(phi.values), arrays.device_of(phi.values)
    points = len(phi)
    if points <= clusters:
        return backend.from_numpy(np.arange(points), device=place)
    landmarks = np.arange(points)
    if points > EXACT_POINTS:
        order = np.argsort(uniforms(seed=seed, stream="landmarks", count=points), kind="stable")
        landmarks = np.sort(order[:LANDMARKS])
    found = _k_means(embedding(phi, landmarks, clusters), clusters, seed)
    return backend.from_numpy(found.astype(np.int64), device=place)


def embedding(phi: TangentFeatures, landmarks: Int[np.ndarray, " l"], clusters: int) -> Float[np.ndarray, "m h"]:
    """Rows D^{-1/2}v of the landmarks, and of the other points by Nyström's formula D⁻¹W·D_l^{-1/2}v/μ."""
    whole = len(landmarks) == len(phi)
    chosen = phi if whole else phi[landmarks]
    values, own = _embedded(_host(_adjacency(chosen, chosen)), min(clusters, len(landmarks)))
    if whole:
        return own
    xp, backend, place = arrays.namespace(phi.values), backend_of(phi.values), arrays.device_of(phi.values)
    # μ⁻¹ of a direction that the landmarks do not have would be rounding: it is left out.
    known = np.abs(values) > _ROUNDING
    mixing = own * np.where(known, 1 / np.where(known, values, 1), 0)
    mixing = xp.astype(backend.from_numpy(mixing, device=place), phi.values.dtype, copy=False)
    rows = []
    for start, stop in arrays.spans(len(phi), _CHUNK):
        near = _adjacency(phi[start:stop], chosen)
        rows.append((near @ mixing) / _positive(xp.sum(near, axis=1))[:, None])
    every = _host(xp.concat(rows, axis=0))
    every[landmarks] = own
    return every


def _adjacency(rows: TangentFeatures, columns: TangentFeatures) -> Float[Array, "a b"]:
    """max(K̄, 0) between two sets of points, output by output."""
    xp = arrays.namespace(rows.values)
    c = rows.n_outputs
    total = rows.values[0, :, :] @ columns.values[0, :, :].T
    for i in range(1, c):
        total = total + rows.values[i, :, :] @ columns.values[i, :, :].T
    count(flops=2 * c * len(rows) * len(columns) * rows.dim)
    return xp.clip(total / c, min=0)


def _embedded(
    affinity: Float[np.ndarray, "l l"], clusters: int
) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, "l h"]]:
    """Leading eigenvalues μ of D^{-1/2}WD^{-1/2}, and rows D^{-1/2}v of its eigenvectors; D = 1 of isolated points."""
    from scipy.linalg import eigh
    from scipy.sparse import csgraph

    affinity = (affinity + affinity.T) / 2
    count(flops=9 * len(affinity) ** 3)
    # scikit-learn's SpectralClustering takes these vectors from ARPACK, which restarts from random numbers that no seed
    # reaches where eigenvalues are equal, as in graphs of several pieces. SciPy's Laplacian drops the diagonal.
    laplacian, roots = csgraph.laplacian(affinity / (affinity.max() or 1.0), normed=True, return_diag=True)
    # LAPACK's way for some eigenvectors alone, "evr", gives up where many eigenvalues are equal.
    values, vectors = (part[..., :clusters] for part in eigh(laplacian, driver="evd"))
    return 1 - values, vectors / roots[:, None]


def _positive(degrees: Float[Array, " a"]) -> Float[Array, " a"]:
    """Degrees, those of isolated points as one."""
    xp = arrays.namespace(degrees)
    return xp.where(degrees > 0, degrees, xp.ones_like(degrees))


def _host(x: Array) -> Float[np.ndarray, "a b"]:
    return np.array(backend_of(x).to_numpy(x), dtype=np.float64)


def _k_means(rows: Float[np.ndarray, "m h"], clusters: int, seed: int) -> Int[np.ndarray, " m"]:
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        found: np.ndarray = KMeans(clusters, n_init=10, random_state=seed % 2**32).fit_predict(rows)
    return found
