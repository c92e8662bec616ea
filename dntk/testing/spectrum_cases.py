"""Adversarial spectra, and matrices that have them."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Host: TypeAlias = npt.NDArray[Any]

SPECTRA = ("flat", "polynomial", "exponential", "clustered", "condition", "deficient", "step")
"""Flat; 1/i; 2^−i; two clusters with relative gaps of 1e-9; condition 1e12; rank deficient; a step of 1e-5."""


def singular_values(kind: str, rank: int) -> Host:
    """Singular values of features, descending, the largest 1; of the kernel they are the roots of the eigenvalues."""
    i = np.arange(rank)
    return {
        "flat": np.ones(rank),
        "polynomial": 1.0 / (i + 1),
        "exponential": 2.0**-i,
        "clustered": np.where(i < rank / 2, 1.0, 0.1) * (1 - 1e-9 * i),
        "condition": 10.0 ** (-12 * i / max(1, rank - 1)),
        "deficient": np.where(i < max(1, rank // 4), 1.0 / (i + 1), 0.0),
        "step": np.where(i < max(1, rank // 2), 1.0, 1e-5),
    }[kind]


def spectra(sizes: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[Host]:
    """Singular values in descending order, in float64: :data:`SPECTRA` at scales from 1e-20 to 1e20.

    Parameters
    ----------
    sizes
        How many; default: from 1 to 40.
    """
    many = st.integers(1, 40) if sizes is None else sizes
    return st.builds(
        lambda kind, size, scale: singular_values(kind, size) * scale,
        st.sampled_from(SPECTRA),
        many,
        st.sampled_from([1.0, 1e-20, 1e-8, 1e8, 1e20]),
    )


def orthogonal(rng: np.random.Generator, n: int) -> Host:
    """Haar orthogonal matrix."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def orthonormal(seed: int, n: int, s: int) -> Host:
    """Random orthonormal columns (n, s)."""
    return orthogonal(np.random.default_rng(seed), n)[:, :s]


def spread(kind: str, rng: np.random.Generator, n: int, k: int) -> Host:
    """Features (n, k) of a spectrum, singular vectors Haar."""
    rank = min(n, k)
    left, right = orthogonal(rng, n)[:, :rank], orthogonal(rng, k)[:, :rank]
    return (left * singular_values(kind, rank)) @ right.T


def eigenvalues(matrix: Host) -> Host:
    """Descending eigenvalues of the symmetric part."""
    return np.linalg.eigvalsh((matrix + np.swapaxes(matrix, -1, -2)) / 2)[..., ::-1]
