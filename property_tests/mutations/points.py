"""Sources of points and nests of arrays."""

from property_tests.mutations.mutant import Mutant

SOURCES, TESTS = "dntk/models/sources.py", "tests/test_points.py::"

MUTANTS = [
    Mutant(
        "dntk/models/base.py",
        "    require_padding_unseen(model, inputs, few, name)\n",
        "",
        "padding that a network takes for data passes",
        "tests/test_points.py::test_padding_that_the_network_sees_is_refused",
    ),
    Mutant(
        SOURCES,
        "    return rows[back]\n",
        "    return rows\n",
        "rows of a stored array in its own order",
        TESTS + "test_rows_of_stored_arrays_come_in_the_order_asked_for",
    ),
    Mutant(
        SOURCES,
        "if is_array(part) and (part.ndim == 0 or part.shape[0] != len(places)):",
        "if False:",
        "examples that a collate loses are not missed",
        TESTS + "test_a_collate_that_loses_examples_is_refused",
    ),
    Mutant(
        SOURCES,
        "if _length(self.source) != self.size:",
        "if False:",
        "a source that changes while it is read",
        TESTS + "test_sources_that_cannot_be_read_are_refused",
    ),
    Mutant(
        "dntk/models/base.py",
        "    few = batches.first(inputs, _LOOKED_AT)\n",
        "    few = batches.whole(inputs)\n",
        "a source read whole before it is used",
        TESTS + "test_points_of_a_source_are_read_a_batch_at_a_time",
    ),
    Mutant(
        SOURCES,
        "zip(positions, finite, strict=True)",
        "zip(range(len(positions)), finite, strict=True)",
        "points that are not finite are counted in their batch",
        TESTS + "test_points_that_are_not_finite_are_counted_in_the_source_not_in_the_batch",
    ),
    Mutant(
        SOURCES,
        "        if kind != kinds[0]:\n",
        "        if False:\n",
        "parts that the first example lacks are left out in silence",
        TESTS + "test_sources_that_cannot_be_read_are_refused",
    ),
    Mutant(
        "dntk/arrays.py",
        "kernel_dtype(xp, x.dtype) if is_floating(x) else x.dtype)",
        "x.dtype)",
        "spectra of 16 bits stay in 16 bits where there is no float64",
        "tests/test_arrays.py::test_spectra_of_16_bits_are_computed_in_more",
    ),
    Mutant(
        SOURCES,
        'base.__name__ == "IterableDataset"',
        'base.__name__ == "no such"',
        "streams of PyTorch pass for data sets whose points have positions",
        TESTS + "test_streams_and_buffers_are_no_sources",
    ),
    Mutant(
        SOURCES,
        'if callable(getattr(x, "keys", None)):',
        "if False:",
        "groups of arrays pass for sources of points",
        TESTS + "test_groups_of_stored_arrays_are_no_sources",
    ),
]
