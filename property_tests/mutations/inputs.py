"""Ways to get networks of texts and of single images wrong."""

from property_tests.mutations.mutant import Mutant

_VALUES = "tests/test_sequences.py::test_values_and_gradients_are_those_of_the_definition"

MUTANTS = [
    Mutant(
        "dntk/distill/data/pulling.py",
        "chunk = min(chunk, _fitting(model, x, cotangents, each, memory_limit))",
        "_fitting(model, x, cotangents, each, memory_limit)",
        "directions of an objective take more than its memory limit",
        "tests/test_memory_limit.py::TestObjectivesAndInputSelectors::"
        "test_they_keep_to_their_limit_and_find_the_same[inducing]",
    ),
    Mutant(
        "dntk/outputs/tokens.py",
        "values = logits[:, :-1, :] if self.causal else logits",
        "values = logits[:, 1:, :] if self.causal else logits",
        "a causal model's label predicted by the logits that have seen it",
        _VALUES,
    ),
    Mutant(
        "dntk/outputs/tokens.py",
        "return xp.where(wanted == IGNORED, 0.0, ",
        "return xp.where(wanted == IGNORED - 1, 0.0, ",
        "positions without a label counted",
        _VALUES,
    ),
    Mutant(
        "dntk/outputs/tokens.py",
        "own.astype(self.predicted(labels) != IGNORED, total.dtype)",
        "own.astype(self.predicted(labels) != -101, total.dtype)",
        "the mean loss over positions instead of labels, which padding changes",
        "tests/test_sequences.py::test_padding_changes_no_kernel",
    ),
    Mutant(
        "dntk/outputs/tokens.py",
        "return {key: part for key, part in batch.items() if key != LABELS}",
        "return dict(batch)",
        "labels shown to the network",
        _VALUES,
    ),
    Mutant(
        "dntk/outputs/token_labels.py",
        "if vocabulary and largest >= vocabulary:",
        "if vocabulary and largest > vocabulary:",
        "the label after the last token taken for one",
        "tests/test_sequences.py::test_labels_that_mean_nothing_are_refused",
    ),
    Mutant(
        "dntk/outputs/token_labels.py",
        "counted & (mask == 0)",
        "counted & (mask == -1)",
        "padding predicted",
        "tests/test_sequences.py::test_labels_at_padding_are_refused",
    ),
    Mutant(
        "dntk/outputs/tokens.py",
        "others = xp.where(mine, -xp.inf, values)",
        "others = values",
        "the label among the others, so that p is halved and certain tokens lose their digits",
        "tests/test_sequences.py::test_nearly_certain_tokens_keep_the_relative_accuracy_of_loss_and_gradient",
    ),
    Mutant(
        "backends/dntk_torch/_single_input.py",
        "return found.reshape(-1).reshape(found.shape)",
        "return found",
        "the gradient of one image misread behind a batch norm",
        "tests/test_torch_single_inputs.py",
    ),
    Mutant(
        "backends/dntk_jax/inputs.py",
        "return frozenset(program.arguments[len(parameters) :])",
        "return frozenset(program.arguments[-1:])",
        "one part of the inputs taken for all data",
        "tests/test_nests.py::test_the_last_layer_is_looked_at_where_the_last_array_does_not_enter_it",
    ),
    Mutant(
        "dntk/outputs/sequences.py",
        "    if here != elsewhere:\n",
        "    if False:\n",
        "tokens of batches of several lengths told by a word about cotangents",
        "tests/test_sequences.py::test_tokens_of_batches_of_several_lengths_are_refused",
    ),
]
