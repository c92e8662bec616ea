"""Progress, and going on after an interruption."""

from property_tests.mutations.mutant import Mutant

PROGRESS = "tests/test_progress.py::"
RESUMPTION = "tests/test_resumption.py::"
CHECKPOINTS = "dntk/checkpoints.py"

MUTANTS = [
    Mutant(
        "dntk/_progress/_event.py",
        "(self.done - self.skipped) / self.seconds",
        "self.done / self.seconds",
        "the rate counts what an earlier run did",
        PROGRESS + "TestEvents::test_rate_and_time_left_follow_from_what_this_run_did",
    ),
    Mutant(
        "dntk/_progress/_task.py",
        "        _current.reset(token)\n        made.leave()",
        "        _current.reset(token)",
        "the bar of an interrupted call stays",
        PROGRESS + "TestBar::test_an_interrupted_call_takes_its_bar_away",
    ),
    Mutant(
        CHECKPOINTS,
        "if known.get(part) != owner[part]]",
        "if known.get(part) is None]",
        "a checkpoint of another call is used",
        RESUMPTION + "TestOwners::test_another_specification_network_or_data_set_is_refused_by_name",
    ),
    Mutant(
        CHECKPOINTS,
        "return f\"array {checksum({'': value})}\"",
        "return repr(value.shape)",
        "labels of a selector are told apart by their number alone",
        RESUMPTION + "TestOwners::test_labels_inside_a_selector_are_told_apart",
    ),
    Mutant(
        CHECKPOINTS,
        "if nbytes > free:",
        "if nbytes < 0:",
        "a full disk is found when it is full",
        RESUMPTION + "TestDisks::test_a_disk_that_cannot_take_the_features_is_said_before_the_work",
    ),
    Mutant(
        CHECKPOINTS,
        'count(**stored.manifest["cost"])',
        "pass",
        "what earlier runs cost is forgotten",
        RESUMPTION + "TestKills::test_time_and_work_of_earlier_runs_stay_in_the_ledger",
    ),
    Mutant(
        "dntk/features.py",
        "digest(bound, outputs)",
        "digest(outputs)",
        "features by another sketch are taken from the checkpoint",
        RESUMPTION + "TestOwners::test_features_by_another_sketch_or_in_other_batches_are_entries_of_their_own",
    ),
    Mutant(
        "dntk/sketch/application.py",
        "kept = kept.of_batches(size)",
        "pass",
        "features in other batches are taken from the checkpoint",
        RESUMPTION + "TestOwners::test_features_by_another_sketch_or_in_other_batches_are_entries_of_their_own",
    ),
    Mutant(
        "dntk/distill/data/descent.py",
        "if kind is KeyboardInterrupt and",
        "if kind is None and",
        "steps before an interruption by hand are lost",
        RESUMPTION + "TestObjectives::test_an_interruption_by_hand_loses_no_step",
    ),
]
