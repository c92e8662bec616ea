"""What backends supply; killed by dntk.testing's own check."""

from property_tests.mutations.mutant import Mutant

CHECK = "tests/test_testing_backends.py::test_backends_of_dntk_pass_on_every_device"

MUTANTS = [
    Mutant(
        "dntk/backend/standard.py",
        "triangle = xp.tril(factor) if lower else xp.triu(factor)",
        "triangle = xp.tril(factor)",
        "upper triangles taken for lower ones",
        CHECK + "[strict]",
    ),
    Mutant(
        "dntk/backend/standard.py",
        "        out = xp.zeros((size, updates.shape[1]), dtype=updates.dtype, device=place)",
        "        out = xp.ones((size, updates.shape[1]), dtype=updates.dtype, device=place)",
        "sums that do not begin at zero",
        CHECK + "[strict]",
    ),
    Mutant(
        "dntk/backend/standard.py",
        "erf: Array = xp.sign(x) * (1 - complement)",
        "erf: Array = xp.sign(x) * (1 - complement * (1 + 1e-6))",
        "the error function to six digits",
        CHECK + "[strict]",
    ),
    Mutant(
        "dntk/random/philox.py",
        "_ROUNDS = 10",
        "_ROUNDS = 9",
        "Philox with a round less where the data are",
        CHECK + "[numpy]",
    ),
    Mutant(
        "dntk/random/philox.py",
        "    carry, low = arithmetic.total(steps, zero + arithmetic.word(first & _MASK))\n",
        "    carry, low = zero, (steps + (first & _MASK)) & _MASK\n",
        "counters of Philox do not carry",
        "tests/test_philox.py",
    ),
    Mutant(
        "backends/dntk_numpy/backend.py",
        "product: Array = matrix @ matrix.T",
        "product: Array = matrix @ matrix.copy().T * (1 + 1e-5)",
        "NumPy's x xᵀ in reduced precision",
        CHECK + "[numpy]",
    ),
    Mutant(
        "backends/dntk_numpy/backend.py",
        "xp.reshape(rows @ inputs, (n, q, b * a)), (1, 0, 2))",
        "xp.reshape(rows @ inputs[:, ::-1, :], (n, q, b * a)), (1, 0, 2))",
        "NumPy expands positions in opposite order",
        CHECK + "[numpy]",
    ),
    Mutant(
        "backends/dntk_torch/backend.py",
        "torch.mul(rows, weights[:, position, None], out=scaled)",
        "torch.mul(rows, weights[:, 0, None], out=scaled)",
        "PyTorch adds every nonzero with the first one's weight",
        CHECK + "[torch]",
    ),
    Mutant(
        "backends/dntk_torch/backend.py",
        "solve_triangular(factor, rhs, upper=not lower)",
        "solve_triangular(factor, rhs, upper=lower)",
        "PyTorch solves with the other triangle",
        CHECK + "[torch]",
    ),
    Mutant(
        "backends/dntk_jax/precision.py",
        'jax.config.update(FLAG, "highest")\n',
        'jax.config.update(FLAG, "high")\n',
        "factors rounded on accelerators",
        "tests/test_jax_precision.py",
    ),
    Mutant(
        "dntk/arrays.py",
        "xp.astype(xp.argmax(x, axis=1), index)",
        "xp.astype(xp.argmin(x, axis=1), index)",
        "the smallest output taken for the class",
        "tests/test_metrics.py::test_predicted_class_is_that_of_the_largest_output[numpy]",
    ),
    Mutant(
        "backends/dntk_torch/inputs.py",
        "return (cotangents.to(every.dtype) * every).sum()",
        "return every.sum()",
        "directions pushed forward without their functionals",
        "tests/test_torch_input_gradients.py",
    ),
]
