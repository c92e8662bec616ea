"""Kernels are symmetric and positive semidefinite, and their forms agree.

With the gradients φ as computed, every entry of a kernel is an inner product of P terms (C·P for
the mean):

    |fl(K_ij) − ⟨φ_i, φ_j⟩| ≤ γ_{P+8} ‖φ_i‖‖φ_j‖,   hence λ_min(fl K) ≥ −γ_{P+8} tr K   (rigorous,
    any order).

`ntk` is symmetric to the last bit. "full" reshaped to (nC, nC) is a Gram matrix; "mean", "each",
"sum" and single outputs are parts of it, and features without a sketch have the same kernels.
Single outputs and "sum" differentiate other cotangents: the gradients themselves then differ by
their own rounding, bounded in `Network.gradient_error`. Where numbers are subnormal, a layer's entry ⟨a, a'⟩⟨g, g'⟩
loses η of every product, times the other factor: at most η·P·B·B' in all, B ≥ ‖a‖, ‖g‖, 1 the bound there.
"""

import numpy as np
from hypothesis import strategies as st

import dntk
from property_tests.allowances import gamma, underflow
from property_tests.networks import networks
from property_tests.strategies import eigenvalues, features, for_libraries, host64

SMOOTH = ["tanh", "identity", "gelu"]


def smooth(library):
    return networks(library, SMOOTH)


def batches(library):
    return st.sampled_from([2] if library.module == "jax" else [None, 1, 2, 4])


def flat(full):
    """(nC, nC) of a kernel (n, n, C, C)."""
    n, _, c, _ = full.shape
    return full.transpose(0, 2, 1, 3).reshape(n * c, n * c)


@for_libraries(network=networks, batch=batches)
def test_ntk_is_symmetric_and_positive_semidefinite(library, network, batch):
    assert network.library is library
    model, x = network.model, network.x
    g = gamma(model.n_parameters * model.n_outputs + 8, network.dtype)
    full = host64(dntk.ntk(model, x, outputs="full", batch_size=batch))
    assert np.array_equal(full, full.transpose(1, 0, 3, 2))
    kernels = [flat(full)]
    for outputs in ("mean", "each", "sum", model.n_outputs - 1):
        kernel = host64(dntk.ntk(model, x, outputs=outputs, batch_size=batch))
        assert np.array_equal(kernel, np.swapaxes(kernel, -1, -2))
        kernels += list(kernel) if outputs == "each" else [kernel]
    for kernel in kernels:
        assert eigenvalues(kernel)[-1] >= -g * np.trace(kernel)
        lengths = np.sqrt(np.diag(kernel))
        assert np.all(np.diag(kernel) >= 0)
        assert np.all(np.abs(kernel) <= (1 + 4 * g) * np.outer(lengths, lengths))


@for_libraries(case=features())
def test_kernels_of_features_are_positive_semidefinite(library, case):
    phi = case.phi(library)
    c, _, k = case.shape
    g = gamma(2 * c * k + 8, case.dtype)
    grams = {"mean": case.joined @ case.joined.T, "each": case.kernels}
    grams["full"] = np.einsum("cik,djk->ijcd", case.wide, case.wide)
    grams["sum"] = np.einsum("ijcd->ij", grams["full"]) / c
    grams[c - 1] = case.kernels[-1]
    lengths = np.sqrt(np.sum(case.wide**2, axis=2))
    # Every form is a weighted sum of the full one, with weights that add up to at most C.
    scale = np.outer(lengths.sum(axis=0), lengths.sum(axis=0))
    for outputs, exact in grams.items():
        kernel = host64(phi.kernel(outputs=outputs))
        assert kernel.shape == exact.shape
        size = np.einsum("ci,dj->ijcd", lengths, lengths) if outputs == "full" else scale
        assert np.all(np.abs(kernel - exact) <= g * size)
        for matrix in {"each": list(kernel), "full": [flat(kernel)] if outputs == "full" else []}.get(
            outputs, [kernel]
        ):
            assert eigenvalues(matrix)[-1] >= -g * max(np.trace(matrix), np.trace(scale))


@for_libraries(network=smooth)
def test_all_forms_of_the_kernel_agree(library, network):
    assert network.library is library
    model, x = network.model, network.x
    c = model.n_outputs
    full = host64(dntk.ntk(model, x, outputs="full"))
    n = full.shape[0]
    g = gamma(c * model.n_parameters + 8, network.dtype)
    lengths = np.sqrt(np.einsum("iicc->ic", full))
    each = host64(dntk.ntk(model, x, outputs="each"))
    size = np.einsum("ic,jc->cij", lengths, lengths)
    norm, error = network.gradient_error()
    slack = 3 * (g * size + underflow(c * model.n_parameters, network.dtype) * np.outer(norm, norm))
    assert np.all(np.abs(each - np.einsum("ijcc->cij", full)) <= slack)
    mean = host64(dntk.ntk(model, x, outputs="mean"))
    assert np.all(np.abs(mean - np.mean(each, axis=0)) <= np.mean(slack, axis=0))
    mixed = np.sqrt(c) * (np.outer(norm, error) + np.outer(error, norm) + g * np.outer(norm, norm))
    total = host64(dntk.ntk(model, x, outputs="sum"))
    assert np.all(np.abs(total - np.einsum("ijcd->ij", full) / c) <= 3 * np.sqrt(c) * mixed)
    for output in range(c):
        single = host64(dntk.ntk(model, x, outputs=output))
        assert np.all(np.abs(single - each[output]) <= 3 * mixed)
    phi = dntk.tangent_features(model, x, sketch=None)
    assert phi.values.shape == (c, n, model.n_parameters)
    assert np.all(np.abs(host64(phi.kernel(outputs="each")) - each) <= slack)
    assert np.all(np.abs(host64(phi.kernel()) - mean) <= np.mean(slack, axis=0))


@for_libraries(network=smooth, batch=batches)
def test_batch_size_does_not_matter(library, network, batch):
    assert network.library is library
    model, x = network.model, network.x
    norm, error = network.gradient_error()
    g = gamma(model.n_outputs * model.n_parameters + 8, network.dtype)
    slack = 2 * (np.outer(norm, error) + np.outer(error, norm) + g * np.outer(norm, norm))
    whole = host64(dntk.ntk(model, x, batch_size=len(norm)))
    assert np.all(np.abs(host64(dntk.ntk(model, x, batch_size=batch)) - whole) <= slack)
    cross = host64(dntk.ntk(model, x, x[:1, ...], batch_size=batch))
    assert np.all(np.abs(cross - whole[:, :1]) <= slack[:, :1])
    first = host64(dntk.tangent_features(model, x, sketch=None).values)
    second = host64(dntk.tangent_features(model, x, sketch=None, batch_size=batch).values)
    assert np.all(np.linalg.norm(first - second, axis=2) <= 2 * error)
