"""Chunks made by the workers of a cluster."""

from property_tests.mutations.mutant import Mutant

TESTS = "tests/test_dask.py::"

MUTANTS = [
    Mutant(
        "backends/dntk_dask/_tasks.py",
        "if stored is None or manifest.owner_of(stored) != folder.owner:",
        "if False:",
        "a worker writes to a folder of its own",
        TESTS + "TestBadInput::test_a_worker_that_does_not_see_the_folder_says_so",
    ),
    Mutant(
        "backends/dntk_dask/_tasks.py",
        "batches.span(part, start - first, stop - first)",
        "batches.span(part, 0, stop - start)",
        "a worker makes a chunk of the first points that it was sent",
        TESTS + "TestFeatures::test_workers_make_the_bits_of_one_process",
    ),
    Mutant(
        "backends/dntk_dask/witness.py",
        "if found() != expected:",
        "if False:",
        "a worker reads another file of the same name",
        "tests/test_dask.py::TestBadInput::test_a_worker_that_reads_other_points_or_features_says_so",
    ),
    Mutant(
        "backends/dntk_dask/_tasks.py",
        "if batches.count(inputs) != stop - start:",
        "if False:",
        "fewer points than a Dask array states are taken",
        TESTS + "TestBadInput::test_dask_arrays_of_unknown_or_wrong_chunks_are_refused",
    ),
    Mutant(
        "backends/dntk_dask/parcel.py",
        "source = host if order is None else np.transpose(host, np.argsort(order))",
        "source = host",
        "an array in another order of axes arrives transposed",
        TESTS + "TestParcels::test_types_orders_in_memory_and_shared_arrays_are_kept",
    ),
    Mutant(
        "backends/dntk_dask/parcel.py",
        "root.offset + ahead",
        "root.offset",
        "part of a memory map arrives as its beginning",
        TESTS + "TestParcels::test_memory_maps_travel_as_files",
    ),
    Mutant(
        "backends/dntk_dask/parcel.py",
        "                require_same(self.versions)\n",
        "",
        "workers of other versions make chunks",
        TESTS + "TestBadInput::test_a_worker_with_other_versions_is_named",
    ),
    Mutant(
        "dntk/stores/job.py",
        "        folder.verify(number)\n",
        "        pass\n",
        "a damaged chunk is joined by a cluster",
        TESTS + "TestFeatures::test_a_chunk_that_was_damaged_is_noticed",
    ),
    Mutant(
        "dntk/stores/_tree.py",
        "merge(branch[0], last)",
        "merge(last, branch[0])",
        "what is left over is merged before what came first",
        "tests/test_stored_algorithms.py::test_results_of_parts_meet_in_the_order_that_their_number_gives",
    ),
    Mutant(
        "backends/dntk_dask/cluster.py",
        "merged(parcel, level[i : i + FAN])",
        "merged(parcel, level[i : i + FAN - 1])",
        "the last part of every branch is left out",
        TESTS + "TestPasses::test_a_worker_killed_during_a_reduction_changes_no_bit",
    ),
    Mutant(
        "dntk/features/stored.py",
        "tuple(rows_of(one, start, stop) for one in along)",
        "tuple(rows_of(one, 0, stop - start) for one in along)",
        "every chunk meets the targets of the first",
        "tests/test_stored_algorithms.py::test_regression_by_chunks_is_that_of_all",
    ),
    Mutant(
        "backends/dntk_dask/_memory.py",
        "    libc.mallopt(_MMAP, _KEPT_MMAP)\n",
        "",
        "a worker fetches fresh pages for every array",
        TESTS + "TestMemoryOfWorkers::test_a_worker_fetches_no_page_twice_within_a_task_and_as_ever_after_it",
    ),
    Mutant(
        "dntk/features/stored.py",
        "            if len(inside):  # no other chunk is read\n",
        "            host = self._host(start, stop)\n            if True:\n",
        "all chunks are read for one point",
        "tests/test_stored_algorithms.py::test_features_of_chosen_points_are_read_from_their_chunks_alone",
    ),
    Mutant(
        "dntk/kernels/stored.py",
        ".concat([above, below], axis=1)",
        ".concat([below, above], axis=1)",
        "rows of a kernel by workers come in another order",
        TESTS + "TestPasses::test_products_with_a_stored_kernel_are_made_by_workers",
    ),
    Mutant(
        "dntk/features/passes.py",
        "        return phi.folded(leaf, merge, name=name, along=along)\n",
        "        object.__setattr__(phi, 'client', None)\n"
        "        return phi.folded(leaf, merge, name=name, along=along)\n",
        "selectors leave the workers idle",
        TESTS + "TestPasses::test_points_chosen_by_workers_are_those_of_one_process",
    ),
    Mutant(
        "dntk/features/_storing.py",
        "memory_limit=left, points=min(n, rows))",
        "memory_limit=left)",
        "a memory limit has to hold the features of all points of a source",
        "tests/test_stored_features.py::TestFeatures"
        "::test_the_memory_limit_is_of_a_chunk_however_many_points_a_source_has",
    ),
    Mutant(
        "dntk/features/_annotations.py",
        "return _read(arrow, folder).slice(phi.points[0], len(phi))",
        "return _read(arrow, folder).slice(0, len(phi))",
        "a slice of features has the ids of the first points",
        "tests/test_annotations.py::test_columns_come_back_with_the_points_that_they_were_given_for[numpy]",
    ),
    Mutant(
        "dntk/distill/data/_stored_clusters.py",
        "labels, near = assigned(points, centres)",
        "labels, near = assigned(points + middle, centres)",
        "centres of k-means by chunks are about another middle",
        "tests/test_stored_algorithms.py::test_clusters_by_chunks_are_those_of_all",
    ),
]
