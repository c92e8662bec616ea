"""Progress, and going on after an interruption."""

from property_tests.mutations.mutant import Mutant

PROGRESS = "tests/test_progress.py::"
RESUMPTION = "tests/test_resumption.py::"
STORED = "tests/test_stored_features.py::"
CHUNKED = "tests/test_stored_algorithms.py::"
CHECKPOINTS = "dntk/checkpoints.py"
TOGETHER = "tests/test_together.py::"

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
        "dntk/features/made.py",
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
    Mutant(
        "dntk/estimator/resumption.py",
        "if least < 0 or most >= points:",
        "if most >= points:",
        "an edited selection counts points from the end",
        RESUMPTION + "TestOwners::test_an_edited_selection_is_named",
    ),
    Mutant(
        CHECKPOINTS,
        "stored.place(key, backend, device=device) for key",
        "backend.from_numpy(stored.arrays[key], device=device) for key",
        "entries of bfloat16 come back as float32",
        RESUMPTION + "test_entries_of_bfloat16_are_of_that_type_whether_made_or_found[torch]",
    ),
    Mutant(
        "backends/dntk_torch/process_wide.py",
        "self._lock = threading.RLock()\n        self._users",
        "self._lock = threading.Lock()\n        self._users",
        "a block that garbage collection ends waits for itself",
        "tests/test_torch_threads.py::"
        "test_a_block_that_garbage_collection_ends_while_another_begins_does_not_wait_for_it",
    ),
    Mutant(
        "backends/dntk_torch/process_wide.py",
        "while not lock.acquire(timeout=_LOST):",
        "while not lock.acquire():",
        "a lock that a thread never lets go is waited for for ever",
        "tests/test_torch_threads.py::test_a_lock_that_a_thread_never_lets_go_is_replaced",
    ),
    Mutant(
        "backends/dntk_torch/process_wide.py",
        "weakref.WeakSet[_User] = weakref.WeakSet()",
        "set[_User] = set()",
        "a block that was interrupted needs its switch for ever",
        "tests/test_torch_threads.py::test_an_interrupt_at_any_moment_is_mended_by_the_next_block_that_needs_the_switch",
    ),
    Mutant(
        "backends/dntk_torch/process_wide.py",
        "for filters in (*ours.lists, warnings.filters):",
        "for filters in (warnings.filters,):",
        "a list of filters that another thread puts back has entries of an ended block",
        "tests/test_torch_threads.py::"
        "test_filters_that_another_thread_puts_back_hide_nothing_and_go_with_the_next_block[nested]",
    ),
    Mutant(
        "backends/dntk_torch/process_wide.py",
        "return self.held and text.startswith(self.start)",
        "return text.startswith(self.start)",
        "an entry left in another thread's list hides the user's warnings",
        "tests/test_torch_threads.py::"
        "test_filters_that_another_thread_puts_back_hide_nothing_and_go_with_the_next_block[crossed]",
    ),
    Mutant(
        "backends/dntk_torch/functional_capture.py",
        "self.escaped.setdefault(name, function_name(func))",
        "self.escaped.setdefault(name, torch.overrides.resolve_name(func) or function_name(func))",
        "a traced call swaps the filters of warnings of the whole process",
        "tests/test_torch_threads.py::test_calls_swap_no_filters_of_warnings",
    ),
    Mutant(
        "dntk/stores/folder.py",
        'if found.manifest["data"] != data:',
        "if False:",
        "stored features of other points are gone on with",
        STORED + "TestOwners::test_other_points_in_the_middle_are_noticed_when_the_call_goes_on",
    ),
    Mutant(
        "dntk/stores/manifest.py",
        "    if difference:\n",
        "    if False:\n",
        "stored features of a network with another activation are gone on with",
        STORED + "TestOwners::test_another_activation_shows_in_the_outputs",
    ),
    Mutant(
        "dntk/stores/folder.py",
        "return found if there == self.layout.chunk_nbytes + 4 else None",
        "return found",
        "a chunk whose file is cut off counts as there",
        STORED + "TestResuming::test_a_chunk_whose_file_is_cut_off_is_made_again",
    ),
    Mutant(
        "dntk/stores/folder.py",
        'if found is None or _sha256(self._file(number)) != found.manifest["sha256"]:',
        "if found is None:",
        "chunks that were exchanged are joined",
        STORED + "TestDamage::test_a_chunk_that_was_exchanged_is_noticed_by_merge_and_made_again",
    ),
    Mutant(
        "dntk/stores/folder.py",
        "!= (number, self.owner):",
        '!= (number, found.manifest["owner"]):',
        "shards of different runs are joined",
        STORED + "TestShards::test_shards_of_different_runs_are_not_joined",
    ),
    Mutant(
        "dntk/stores/chunk_files.py",
        'fill_value=_NAN.get(layout.dtype, float("nan")),',
        "fill_value=0,",
        "a chunk that is lost reads as zeros",
        STORED + "TestDamage::test_a_chunk_that_is_lost_reads_as_no_number",
    ),
    Mutant(
        "dntk/stores/chunk_files.py",
        "bits + 0x7FFF + ((bits >> 16) & 1)",
        "bits",
        "bfloat16 is cut off, not rounded",
        STORED + "TestFeatures::test_bfloat16_rounds_ties_to_even_and_back",
    ),
    Mutant(
        "dntk/stores/shards.py",
        "place = (place - least) //",
        "place = place //",
        "tasks of a Slurm array are counted from 0",
        STORED + "TestShards::test_the_shard_is_that_of_the_process",
    ),
    Mutant(
        "dntk/solve/_by_chunks.py",
        "y * root[None, :, None], root",
        "y, root",
        "targets of stored features are not weighted",
        CHUNKED + "test_weights_of_points_and_shared_features_go_by_chunks",
    ),
    Mutant(
        "dntk/distill/data/residual_kernel.py",
        "rows = rows - (rows @ self._spanned.T) @ self._spanned",
        "rows = rows + 0 * (rows @ self._spanned.T) @ self._spanned",
        "picks of stored features are not taken off each other",
        CHUNKED + "test_points_beyond_the_rank_leave_nothing",
    ),
    Mutant(
        "dntk/certificates/widened.py",
        "self._folded(_onto, added, along=(rows.mT,))",
        "self._folded(_onto, added, along=(arrays.namespace(rows).flip(rows, axis=-1).mT,))",
        "a stored reference is certified with the rows of other points",
        CHUNKED + "test_a_certificate_of_a_stored_reference_is_that_of_one_in_memory",
    ),
    Mutant(
        CHECKPOINTS,
        "                stored = self._read(name)\n        backend, device",
        "                stored = Stored(path=self.folder / name, manifest=manifest, arrays=hosts, narrow=narrow)\n"
        "        backend, device",
        "a process goes on from an entry of its own where another one's is kept",
        TOGETHER + "TestCheckpoints::test_the_first_of_two_that_make_an_entry_is_that_of_both",
    ),
    Mutant(
        CHECKPOINTS,
        'manifest | {"cost": dataclasses.asdict(Spent())}, replace=False)',
        'manifest | {"cost": dataclasses.asdict(Spent())})',
        "two calls begin one folder, and their entries are mixed",
        TOGETHER + "TestCheckpoints::test_a_folder_that_another_call_begins_at_the_same_time_is_theirs",
    ),
    Mutant(
        "dntk/archive/files.py",
        "    if not replace and present(destination):\n",
        "    if False:\n",
        "a file that is not to be replaced is, where a disk has no hard links",
        TOGETHER + "TestFiles::test_a_new_file_is_put_and_an_empty_one_replaced",
    ),
    Mutant(
        "dntk/archive/_locks.py",
        "            if not last and not _is_file(stream, file):  # removed by who had it\n                continue\n",
        "",
        "two processes hold a lock whose file was removed in between",
        TOGETHER + "TestFiles::test_one_holds_a_lock_at_a_time_and_nothing_is_left",
    ),
    Mutant(
        "backends/dntk_torch/_watching.py",
        "name in _MOVING or (name in _PRODUCTS and any(compared))",
        "name in _MOVING",
        "a product with comparisons moves rows unseen",
        "tests/test_torch_moving_rows.py::test_networks_that_move_rows_by_data_are_told[ranked]",
    ),
    Mutant(
        "dntk/checkpoints.py",
        "        collect_below(folder)\n",
        "",
        "what a writer left that was killed with its file in place stays for ever",
        "tests/test_archive.py::test_who_goes_on_removes_what_a_writer_left_that_was_killed_with_its_file_in_place",
    ),
    Mutant(
        "dntk/archive/files.py",
        "    for place, _, _ in os.walk(folder):\n        collect(Path(place))\n",
        "    collect(folder)\n",
        "what a writer left of an entry that is kept some rows at a time stays for ever",
        "tests/test_archive.py::test_who_goes_on_removes_what_was_left_of_entries_that_nobody_opens_again",
    ),
]
