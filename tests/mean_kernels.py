"""The expected error of a sketched mean kernel, slowly and obviously."""

import numpy as np


def moments(phi):
    """a = Σ_cd (tr G^cd)², b = Σ_cd tr (G^cd)² and d = C²‖K̄‖_F² of features (C, n, P), G^cd = Φ^c Φ^dᵀ."""
    gram = np.einsum("cip,djp->cidj", phi, phi)
    a = np.sum(np.einsum("cidi->cd", gram) ** 2)
    b = np.einsum("cidj,cjdi->", gram, gram)
    return np.array([a, b, np.sum(summed(phi) ** 2)])


def summed(phi):
    """C·K̄."""
    return np.einsum("cip,cjp->ij", phi, phi)


def expected_error(hat):
    """Root mean square of ‖K̂ − K̄‖_F/‖K̄‖_F from the sketched features: E x̂ = x + (sum of the other two)/k."""
    k = hat.shape[2]
    mixing = np.full((3, 3), 1 / k) + (1 - 1 / k) * np.eye(3)
    a, b, d = np.linalg.solve(mixing, moments(hat))
    return ((a + b) / (k * d)) ** 0.5
