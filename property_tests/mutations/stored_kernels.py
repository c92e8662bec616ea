"""Exact kernels on the disk."""

from property_tests.mutations.mutant import Mutant

STORING, TESTS = "dntk/kernels/_storing.py", "tests/test_stored_kernel.py::"

MUTANTS = [
    Mutant(
        STORING,
        "axes = (*range(values.ndim - 2), values.ndim - 1, values.ndim - 2)",
        "axes = tuple(range(values.ndim))",
        "a tile below the diagonal is the one above as it stands",
        TESTS + "test_the_kernel_on_the_disk_is_the_one_in_memory_on_every_library",
    ),
    Mutant(
        STORING,
        "found = self.folder.chunk(above, self.data(above, read))",
        "found = None",
        "every tile below the diagonal computed again",
        TESTS + "test_tiles_below_the_diagonal_are_not_computed_again",
    ),
    Mutant(
        STORING,
        '"second set of points": other,',
        '"second set of points": "",',
        "the kernel with other points taken for the same",
        TESTS + "test_two_sets_of_points_have_a_kernel_of_their_own",
    ),
    Mutant(
        STORING,
        "joined_digest((self._digest(rows, read), self._digest(columns, read)))",
        "joined_digest((self._digest((0, 0, 1), read), self._digest(columns, read)))",
        "rows that changed in the middle not noticed",
        TESTS + "test_points_that_changed_in_the_middle_are_noticed",
    ),
    Mutant(
        "dntk/stores/folder.py",
        'found.manifest["data"] != data or not self._is_sound(number):',
        'found.manifest["data"] != data:',
        "a damaged tile mirrored",
        TESTS + "test_a_damaged_tile_is_not_mirrored",
    ),
    Mutant(
        "dntk/kernels/stored.py",
        "xp.astype(part, wide) @ right",
        "xp.astype(part, wide).mT @ right",
        "products by the transposed rows of tiles",
        TESTS + "test_the_kernel_on_the_disk_is_the_one_in_memory_on_every_library",
    ),
]
