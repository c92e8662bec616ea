"""What all adapters of frameworks share."""

from property_tests.mutations.mutant import Mutant

ROOM, TESTS = "dntk/models/adapter/", "tests/test_adapter.py::"
EXAMINED = TESTS + "test_networks_that_are_no_functions_of_one_input_are_told"

MUTANTS = [
    Mutant(
        ROOM + "_memo.py",
        "known[0] < min(seen, enough)",
        "known[0] < 0",
        "what one input showed believed of many",
        TESTS + "test_one_input_is_looked_at_again_once_more_come",
    ),
    Mutant(
        "dntk/models/batches.py",
        "return tuple(x.shape[1:]), str(x.dtype)",
        "return tuple(x.shape[1:])",
        "what one dtype showed believed of another",
        TESTS + "test_what_inputs_have_shown_is_found_once_per_shape_and_dtype",
    ),
    Mutant(
        ROOM + "_network.py",
        "for row in {0, last} if",
        "for row in {0} if",
        "batch dependence looked for in the first input alone",
        EXAMINED,
    ),
    Mutant(
        ROOM + "_network.py",
        "tuple(left.shape) == tuple(right.shape) and ",
        "",
        "outputs of another width taken for the same by broadcasting",
        TESTS + "test_closeness_is_relative_to_the_largest_entry_of_the_second",
    ),
    Mutant(
        ROOM + "_network.py",
        "    except framework.not_its_fault:\n        raise\n",
        "",
        "a device out of memory blamed on the network",
        TESTS + "test_outputs_that_are_none_are_refused",
    ),
    Mutant(
        ROOM + "_requirements.py",
        "rows is not None and value.shape[0] != rows",
        "False",
        "cotangents of any number of inputs accepted",
        TESTS + "test_matrices_must_have_the_columns_and_rows_that_are_asked_for",
    ),
    Mutant(
        ROOM + "_vectors.py",
        "initial=0",
        "initial=1",
        "parameters begin one coordinate late",
        TESTS + "test_vectors_are_split_in_the_order_of_the_flattened_parameters",
    ),
    Mutant(
        ROOM + "_blocks.py",
        "offset += block.size",
        "offset += 1",
        "blocks laid over one another",
        TESTS + "test_blocks_are_given_their_offsets",
    ),
    Mutant(
        "backends/dntk_torch/private_copy.py",
        "isinstance(value, torch.nn.Parameter) else value.clone()",
        "isinstance(value, torch.nn.Parameter) else value",
        "buffers of the user's network written into",
        "tests/test_torch_model.py::test_attributes_that_forward_sets_are_put_back",
    ),
    Mutant(
        "backends/dntk_torch/private_copy.py",
        "given = {id(value): parameters[name]",
        "given = {id(value): value",
        "the user's own parameters in a private copy",
        "tests/test_torch_threads.py::test_parameters_that_a_copy_cannot_follow_are_refused",
    ),
    Mutant(
        "backends/dntk_torch/_blocks.py",
        "misled = misplaced(captured, cotangents, {**factored, **small})",
        "misplaced(captured, cotangents, {**factored, **small})",
        "rows of a sorted batch taken for those of inputs in order",
        "tests/test_torch_moving_rows.py",
    ),
    Mutant(
        "backends/dntk_torch/_unwrapped.py",
        "        net = inner\n",
        "        return inner\n",
        "a wrapper inside a wrapper left on",
        "tests/test_wrapped_networks.py::test_wrapped_networks_are_those_inside",
    ),
    Mutant(
        "backends/dntk_torch/_unwrapped.py",
        "if sharded or wrapped:",
        "if wrapped:",
        "a share of the parameters taken for all",
        "tests/test_wrapped_networks.py::test_networks_of_several_processes",
    ),
    Mutant(
        "backends/dntk_torch/layouts.py",
        "values = stored.unflatten(1, (-1, joined)).sum(2)",
        "values = stored.unflatten(1, (joined, -1)).sum(1)",
        "every input given the rows of another",
        "tests/test_torch_layouts.py",
    ),
    Mutant(
        "backends/dntk_torch/operations.py",
        "return Read(input=both.input, arguments=(*both.arguments, _broadcast(input, _shift)))",
        "return both",
        "the shift of a scale with a shift left to passes per input",
        "tests/test_torch_layouts.py",
    ),
    Mutant(
        "backends/dntk_torch/_repeating.py",
        "return shape != torch.broadcast_shapes(*(value.shape for value in given)) and shape[0] > 1",
        "return False",
        "a bias under a mask of every window followed past where inputs part",
        "tests/test_torch_lineage.py",
    ),
    Mutant(
        "backends/dntk_torch/lineage.py",
        "return all(self.names(value) or self._is_constant(value) for value in tensors(values))",
        "return True",
        "what is made of the inputs taken for a constant",
        "tests/test_torch_lineage.py",
    ),
    Mutant(
        "backends/dntk_torch/functional_capture.py",
        "leaf = nested.detach().contiguous().requires_grad_()",
        "leaf = nested",
        "the graph of a value of parameters freed by the first backward pass",
        "tests/test_torch_lineage.py",
    ),
]
