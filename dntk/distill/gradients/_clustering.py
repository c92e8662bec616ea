"""Spectral clustering of points by their mean kernel, at a cost that is linear in the number of points.

The adjacency is K̄ as in the paper (arXiv 2602.11320). A spectral embedding needs weights that are not negative, which
the paper does not discuss: negative similarities count as none.
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


def spectral_clusters(phi: TangentFeatures, clusters: int, *, seed: int) -> Int[Array, " m"]:
    """Cluster of every point.

    Up to :data:`EXACT_POINTS` points k-means on the spectral embedding of max(K̄, 0), on the host. Beyond, the
    embedding of :data:`LANDMARKS` landmarks (uniform, without replacement), the leading eigenvectors of
    D^{-1/2}WD^{-1/2}, is extended to all points by Nyström's formula, and k-means clusters the embedded points:
    O(m·l·C·k + l³) for l landmarks, memory O(m·H + chunk·l), and only (m, H) numbers go to the host (Bengio et al.,
    NIPS 2003).
    """
    backend, place = backend_of(phi.values), arrays.device_of(phi.values)
    points = len(phi)
    if points <= clusters:
        return backend.from_numpy(np.arange(points), device=place)
    if points <= EXACT_POINTS:
        found = _of_matrix(np.asarray(backend.to_numpy(_adjacency(phi, phi)), dtype=np.float64), clusters, seed)
    else:
        embedding = np.asarray(backend.to_numpy(_extended_embedding(phi, clusters, seed)), dtype=np.float64)
        found = _k_means(embedding, clusters, seed)
    return backend.from_numpy(found.astype(np.int64), device=place)


def _adjacency(rows: TangentFeatures, columns: TangentFeatures) -> Float[Array, "a b"]:
    """max(K̄, 0) between two sets of points, output by output."""
    xp = arrays.namespace(rows.values)
    c = rows.n_outputs
    total = rows.values[0, :, :] @ columns.values[0, :, :].T
    for i in range(1, c):
        total = total + rows.values[i, :, :] @ columns.values[i, :, :].T
    count(flops=2 * c * len(rows) * len(columns) * rows.dim)
    return xp.clip(total / c, min=0)


def _of_matrix(affinity: "np.ndarray", clusters: int, seed: int) -> "np.ndarray":
    from scipy.linalg import eigh
    from scipy.sparse import csgraph

    affinity = (affinity + affinity.T) / 2
    # scikit-learn's SpectralClustering takes these vectors from ARPACK, which restarts from random numbers that no seed
    # reaches where eigenvalues are equal, as in graphs of several pieces.
    laplacian, roots = csgraph.laplacian(affinity / affinity.max(), normed=True, return_diag=True)
    _, vectors = eigh(laplacian, subset_by_index=(0, clusters - 1))
    return _k_means(vectors / roots[:, None], clusters, seed)


def _extended_embedding(phi: TangentFeatures, clusters: int, seed: int) -> Float[Array, "m h"]:
    """Rows D^{-1/2}v of all points, v the eigenvectors of the landmarks' normalised adjacency extended by Nyström."""
    xp = arrays.namespace(phi.values)
    order = np.argsort(uniforms(seed=seed, stream="landmarks", count=len(phi)), kind="stable")
    landmarks = phi[np.sort(order[:LANDMARKS])]
    weights = _adjacency(landmarks, landmarks)
    degrees = _positive(xp.sum(weights, axis=1))
    root = xp.sqrt(degrees)
    normal = weights / root[:, None] / root[None, :]
    normal = arrays.in_float64(normal)
    count(flops=9 * LANDMARKS**3)
    values, vectors = xp.linalg.eigh((normal + normal.mT) / 2)
    values, vectors = values[-clusters:], vectors[:, -clusters:]
    # μ⁻¹ of a direction that the landmarks do not have would be rounding: it is left out.
    inverse = xp.where(values > 1e-6, 1 / xp.where(values > 1e-6, values, xp.ones_like(values)), 0 * values)
    mixing = xp.astype((vectors / xp.astype(root, vectors.dtype)[:, None]) * inverse[None, :], weights.dtype)
    rows = []
    for start, stop in arrays.spans(len(phi), _CHUNK):
        near = _adjacency(phi[start:stop], landmarks)
        rows.append((near @ mixing) / _positive(xp.sum(near, axis=1))[:, None])
    return xp.concat(rows, axis=0)


def _positive(degrees: Float[Array, " a"]) -> Float[Array, " a"]:
    """Degrees, those of isolated points as one."""
    xp = arrays.namespace(degrees)
    return xp.where(degrees > 0, degrees, xp.ones_like(degrees))


def _k_means(embedding: "np.ndarray", clusters: int, seed: int) -> "np.ndarray":
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        found: np.ndarray = KMeans(clusters, n_init=10, random_state=seed % 2**32).fit_predict(embedding)
    return found
