"""Runs as files say them."""

from property_tests.mutations.mutant import Mutant

ROOM, TESTS = "dntk/runs/", "tests/test_runs.py::"

MUTANTS = [
    Mutant(
        ROOM + "_parts.py",
        'return None if value == "none" else value\n    name',
        "return value\n    name",
        "a word passed on where it stands for None",
        TESTS + "test_a_run_is_the_fit_that_its_configuration_says",
    ),
    Mutant(
        ROOM + "prepared.py",
        "metrics.accuracy(outputs, self.test_y)",
        "metrics.accuracy(predicted, self.test_y)",
        "the network's accuracy told as the predictor's",
        TESTS + "test_a_run_is_the_fit_that_its_configuration_says",
    ),
    Mutant(
        ROOM + "prepared.py",
        'if table != "output" and dict(',
        'if table == "network" and dict(',
        "a folder of another fit taken for the same",
        TESTS + "test_the_same_run_again_says_that_it_is_the_same_and_another_is_refused",
    ),
    Mutant(
        ROOM + "prepared.py",
        "            _require_same(folder, earlier, summary)\n",
        "            pass\n",
        "the results of other data written over",
        TESTS + "test_without_checkpoint_a_run_on_other_data_is_refused_too_and_what_was_there_stays",
    ),
    Mutant(
        ROOM + "prepared.py",
        'made = state.certificate.is_made and self.configuration.output["certify"]',
        "made = True",
        "a certificate made that nobody asked for",
        TESTS + "test_a_run_is_the_fit_that_its_configuration_says",
    ),
    Mutant(
        ROOM + "_compared.py",
        'run.digests.get(key, "") for run',
        '"" for run',
        "runs on different data set side by side without a word",
        TESTS + "test_commands_run_compare_and_report",
    ),
    Mutant(
        ROOM + "configuration.py",
        "    _require_names(table, found, tuple(keys))\n",
        "",
        "misspelt keys left out in silence",
        TESTS + "test_what_is_wrong_in_a_configuration_is_named",
    ),
    Mutant(
        ROOM + "_sources.py",
        "            _require_meant(key, found, folder)\n",
        "",
        "the network of another folder taken for the one beside the configuration",
        TESTS + "test_a_module_of_the_same_name_in_another_folder_is_not_taken_for_it",
    ),
    Mutant(
        ROOM + "_sources.py",
        "    if seen:\n        raise KeyboardInterrupt\n",
        "",
        "a run goes on with a network whose training was interrupted",
        TESTS + "test_an_interrupt_that_the_training_catches_ends_the_run",
    ),
]
