"""Gradient blocks of tied weights, and derivatives in a network's inputs."""

from property_tests.mutations.mutant import Mutant

TIED = "tests/test_tied_blocks.py::test_inner_products_of_tied_blocks_equal_those_of_expanded_gradients[numpy]"
MIXED = "tests/test_tied_blocks.py::test_inner_products_of_a_table_with_a_linear_map_equal_those_of_expanded_gradients"
INPUTS = "tests/test_input_gradients.py::"
SLOPE = INPUTS + "test_the_closed_form_of_a_perceptron_is_the_slope_of_its_jacobian_products"

MUTANTS = [
    Mutant(
        "dntk/gradient_blocks/tied.py",
        "return alike + (mixed + namespace(mixed).permute_dims(mixed, swapped))",
        "return alike",
        "products of a table with its linear map dropped",
        TIED,
    ),
    Mutant(
        "dntk/gradient_blocks/tied.py",
        "return alike + (mixed + namespace(mixed).permute_dims(mixed, swapped))",
        "return alike + mixed",
        "products of a table with its linear map counted once",
        TIED,
    ),
    Mutant(
        "dntk/gradient_blocks/tied.py",
        "return alike + (mixed + namespace(mixed).permute_dims(mixed, swapped))",
        "return alike + 2 * mixed",
        "mixed products doubled in place of mirrored",
        TIED,
    ),
    Mutant(
        "dntk/gradient_blocks/tied.py",
        "return sum(products[1:], products[0])",
        "return products[0] + products[-1]",
        "mixed products of two tied weights dropped",
        TIED,
    ),
    Mutant(
        "dntk/gradient_blocks/tied.py",
        "yield start, values + self.table.rows_between(first, last)",
        "yield start, values",
        "pieces of a tied weight forget its table",
        "tests/test_tied_blocks.py::test_pieces_of_a_tied_block_are_those_of_its_whole_gradient",
    ),
    Mutant(
        "dntk/gradient_blocks/mixed.py",
        "return xp.sum(xp.sum(similar * chosen, axis=4), axis=2)",
        "return xp.sum((similar * chosen)[..., 0], axis=2)",
        "one position of the linear map counts",
        MIXED,
    ),
    Mutant(
        "dntk/gradient_blocks/mixed.py",
        "xp.reshape(rows[start:stop, :], (i * t,))",
        "xp.reshape(rows[:i, :], (i * t,))",
        "tiles of later inputs look up the rows of the first",
        MIXED,
    ),
    Mutant(
        "dntk/distill/data/pulling.py",
        "model.input_gradient(x[start:stop, ...], cotangents, directions)",
        "model.input_gradient(x[start:stop, ...], cotangents, directions[:, ::-1, :])",
        "directions of functionals swapped",
        INPUTS + "test_the_gradient_of_features_is_that_of_the_whole_dense_objective",
    ),
    Mutant(
        "dntk/distill/data/pulling.py",
        "rows = xp.permute_dims(gradient[:, start:stop, :], (1, 0, 2))",
        "rows = xp.permute_dims(gradient[:, : stop - start, :], (1, 0, 2))",
        "later chunks of points take the first one's derivative",
        INPUTS + "test_chunks_of_points_have_their_own_derivatives",
    ),
    Mutant(
        "dntk/models/mlp_inputs.py",
        "fixed = fixed + bend * xp.sum(to_tangent * known, axis=1)",
        "fixed = fixed - bend * xp.sum(to_tangent * known, axis=1)",
        "curvature of the activation with the wrong sign",
        SLOPE,
    ),
    Mutant(
        "dntk/models/mlp_inputs.py",
        "return value + arrays.namespace(value).sum((moving[:, :, None, :] @ turn)[:, :, 0, :], axis=1)",
        "return value",
        "moving weights do not reach the inputs",
        SLOPE,
    ),
    Mutant(
        "dntk/gradient_blocks/operations.py",
        "share = (tiles + 1) / (2 * tiles)",
        "share = 1",
        "plans count the tiles below the diagonal",
        "tests/test_gradient_blocks.py::test_operations_of_any_number_of_inputs_are_foretold",
    ),
    Mutant(
        "dntk/plan/_products.py",
        "total += tiles * products.operations(working_set)",
        "total += products.operations(working_set)",
        "plans of kernels count one tile of many",
        "tests/test_plan.py::test_operations_of_a_kernel_are_those_of_the_form_that_many_points_take",
    ),
]
