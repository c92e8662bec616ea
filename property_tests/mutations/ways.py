"""Ways to believe what was found on another way through a network."""

from property_tests.mutations.mutant import Mutant

TORCH = "backends/dntk_torch/"
TESTS = "tests/test_torch_ways.py::"

MUTANTS = [
    Mutant(
        TORCH + "_ways.py",
        "(placed or way.like(other))",
        "True",
        "ways are told apart by their operations alone",
        TESTS + "test_ways_differ_by_axes_alone",
    ),
    Mutant(
        TORCH + "_ways.py",
        "if way.operations == other.operations and ",
        "if ",
        "ways on which rows are placed are all one",
        TESTS + "test_other_inputs_may_go_another_way",
    ),
    Mutant(
        TORCH + "_blocks.py",
        " and following not in passes.wrong",
        "",
        "a layer's block holds a bias that is used elsewhere, too",
        TESTS + "test_a_flag_may_change_the_way_between_calls[twice_the_bias]",
    ),
    Mutant(
        TORCH + "_blocks.py",
        "Found(misled, ",
        "Found(False, ",
        "rows of a known way are not placed at the second call",
        TESTS + "test_more_inputs_may_go_another_way[6-rolled]",
    ),
    Mutant(
        TORCH + "_blocks.py",
        "if block is not None and not sums.agrees(name, block)",
        "if block is None",
        "sums of gradients on a new way are not compared",
        TESTS + "test_more_inputs_may_go_another_way[6-by_halves]",
    ),
    Mutant(
        TORCH + "_verifying.py",
        "name: layout if refuted(name) else",
        "name: layout if rivals else",
        "a layout is believed where another holds, too",
        TESTS + "test_layouts_are_believed_only_where_rows_tell_them",
    ),
    Mutant(
        TORCH + "_verifying.py",
        "name: layout if refuted(name) else",
        "name: layout if not rivals else",
        "inputs that differ by little tell no order of rows",
        "tests/test_torch_evidence.py::test_rows_tell_their_inputs_where_gradients_hardly_differ[0.001]",
    ),
    Mutant(
        TORCH + "_confirming.py",
        "a.mT @ g if block.transposed else g.mT @ a",
        "g.mT @ a",
        "sums of transposed maps are those of others",
        TESTS + "test_sums_of_blocks_are_those_of_expanded_gradients",
    ),
    Mutant(
        TORCH + "_signature.py",
        "type(value) in (bool, str)",
        "type(value) in ()",
        "a mode of a module is not seen",
        TESTS + "test_a_mode_that_is_an_attribute_is_another_network",
    ),
]
