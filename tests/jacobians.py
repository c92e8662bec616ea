"""A tanh network and its Jacobian by complex steps: the reference of kernels and features."""

import itertools

import numpy as np

import dntk

SIZES = (3, 4, 3, 2)  # with fewer hidden layers the full kernel is symmetric in its outputs


def random_network(sizes=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) / a**0.5 for a, b in itertools.pairwise(sizes)]
    biases = [rng.normal(size=b) for b in sizes[1:]]
    return [as_float32(w) for w in weights], [as_float32(b) for b in biases]


def as_float32(values):
    """Float64 numbers that float32 holds exactly, so that one reference serves both precisions."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def points(n, d=SIZES[0], seed=1):
    return as_float32(np.random.default_rng(seed).normal(size=(n, d)))


def float_of(library):
    return np.float64 if library.has_float64 else np.float32


def tanh_model(library, weights, biases, dtype):
    return dntk.MLP(
        weights=tuple(library.array(w, dtype) for w in weights),
        biases=tuple(library.array(b, dtype) for b in biases),
        activation="tanh",
    )


def complex_step_jacobian(weights, biases, x):
    """(C, n, P): Im f(θ + i h e_p)/h, without cancellation, one parameter at a time."""
    step, columns = 1e-30, []
    arrays = [a for pair in zip(weights, biases, strict=True) for a in pair]
    for number, array in enumerate(arrays):
        for coordinate in range(array.size):
            moved = [a.astype(complex) for a in arrays]
            moved[number].reshape(-1)[coordinate] += 1j * step
            value = x
            for layer in range(0, len(moved), 2):
                value = value @ moved[layer].T + moved[layer + 1]
                value = value if layer == len(moved) - 2 else np.tanh(value)
            columns.append(value.imag.T / step)
    return np.stack(columns, axis=-1)
