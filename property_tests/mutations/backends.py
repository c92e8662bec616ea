"""What backends supply; killed by dntk.testing's own check."""

from property_tests.mutations.mutant import Mutant

CHECK = "tests/test_testing_backends.py::test_backends_of_dntk_pass_on_every_device"

PREDICTED = "tests/test_prediction_batches.py::"
NARROW = "tests/test_narrow_networks.py::test_"
CLIPPED = "test_ids_out_of_bounds_get_gradients_only_where_the_look_up_clips_them"

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
        "return xp.where(z < 1, x * near, xp.sign(x) * (1 - complement))",
        "return xp.where(z < 1, x * near, xp.sign(x) * (1 - complement * (1 + 1e-6)))",
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
        "lambda matrix: matrix @ matrix.T, x",
        "lambda matrix: matrix @ matrix.copy().T * (1 + 1e-5), x",
        "NumPy's x xᵀ in reduced precision",
        CHECK + "[numpy]",
    ),
    Mutant(
        "backends/dntk_torch/products.py",
        "    if length <= 2 * _LENGTH or not _on_cpu(x, y):",
        "    if length:",
        "PyTorch's products of long rows with errors that grow with their length",
        "tests/test_long_products.py",
    ),
    Mutant(
        "backends/dntk_torch/products.py",
        " + x[:, whole:] @ y[:, whole:].mT",
        "",
        "the rest of long rows left out of their product",
        "tests/test_long_products.py",
    ),
    Mutant(
        "dntk/backend/products.py",
        "product(rows, inputs)",
        "product(rows, inputs[:, ::-1, :])",
        "positions expanded in opposite order",
        CHECK + "[numpy]",
    ),
    Mutant(
        "backends/dntk_torch/_scatter.py",
        "per_sample_weights=weights.reshape(-1)[order]",
        "per_sample_weights=weights[:, :1].expand(-1, index.shape[1]).reshape(-1)[order]",
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
        "backends/dntk_jax/factors.py",
        'clipped = params["mode"] == jax.lax.GatherScatterMode.CLIP',
        "clipped = True",
        "ids out of bounds always clipped",
        "tests/test_jax_model.py::" + CLIPPED + "[fill]",
    ),
    Mutant(
        "backends/dntk_jax/factors.py",
        'clipped = params["mode"] == jax.lax.GatherScatterMode.CLIP',
        "clipped = False",
        "ids out of bounds never clipped",
        "tests/test_jax_model.py::" + CLIPPED + "[clip]",
    ),
    Mutant(
        "backends/dntk_jax/_precision.py",
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
    Mutant(
        "backends/dntk_jax/_blocks.py",
        "factors = tuple(arrays.widened(factor) for factor in factors)",
        "factors = tuple(factors)",
        "gradients of 16-bit networks are multiplied in 16 bits",
        NARROW + "predictions_of_narrow_networks_keep_the_bound_and_are_read_back_bit_for_bit[jax]",
    ),
    Mutant(
        "dntk/features/in_memory.py",
        "arrays.widened(self.values)",
        "self.values",
        "regression on 16-bit features ends in 16 bits",
        NARROW + "features_that_are_given_in_16_bits_are_widened",
    ),
    Mutant(
        "dntk/models/batching.py",
        "free // _SHARE >= most",
        "free >= most",
        "blocks take all that is free",
        "tests/test_memory.py::test_blocks_take_a_quarter_of_what_is_free_and_no_more_than_the_constant",
    ),
    Mutant(
        "backends/dntk_torch/backend.py",
        "any(text in str(error) for text in _NO_MEMORY)",
        "False",
        "the host's allocator of PyTorch is not heard",
        "tests/test_memory.py::test_pytorch_says_that_its_memory_is_short",
    ),
    Mutant(
        "dntk/models/_halved.py",
        "            if not is_out_of_memory(error):\n",
        "            if False:\n",
        "errors of other kinds are taken for a lack of memory",
        "tests/test_memory.py::test_other_errors_pass_and_one_input_that_does_not_fit_is_said",
    ),
    Mutant(
        "backends/dntk_torch/products.py",
        "images.mul_(joined.view(n, q, b * t))",
        "images.mul_(cotangents.reshape(n, q, b * t))",
        "images are multiplied with the cotangents of other coordinates",
        PREDICTED + "test_gradients_are_paired_with_matrices_in_whatever_order_they_lie[torch-60-positions last]",
    ),
    Mutant(
        "dntk/estimator/_prediction.py",
        "all_parts(rows, x, client, bar, start=few)",
        "all_parts(rows, batches.span(x, 0, n - few), client, bar)",
        "later inputs get the predictions of the first",
        PREDICTED + "test_predictions_are_right_in_batches_that_keep_a_layers_gradients_small",
    ),
    Mutant(
        "dntk/estimator/_prediction.py",
        "max(cotangents, block.nbytes - cotangents) // n",
        "max(cotangents, block.nbytes - cotangents)",
        "batches are smaller than memory asks for",
        PREDICTED + "test_as_many_inputs_at_once_as_the_largest_layer_allows",
    ),
]
