"""Ways to take, or to misname, what is no proper input."""

from property_tests.mutations.mutant import Mutant

_ROWS = "tests/test_errors.py::test_bad_input_is_told_what_the_page_says"

SYMMETRIC = "tests/test_kernel_checks.py::"

MUTANTS = [
    Mutant(
        "dntk/_checks.py",
        "        return not isinstance(value, bool)\n",
        "        return True\n",
        "True taken for the integer 1",
        "tests/test_checks.py::test_what_is_no_positive_integer_is_refused_with_what_came",
    ),
    Mutant(
        "dntk/_checks.py",
        "        return None if isinstance(value, bool) else _as_float(value)\n",
        "        return _as_float(value)\n",
        "True taken for the number 1",
        f"{_ROWS}[numpy-dntk.solve.ridge(phi, targets, ridge=True)]",
    ),
    Mutant(
        "dntk/_foreign.py",
        '    if kind in ("MaskedArray", "MaskedConstant", "MaskedRecords"):\n',
        "    if kind in ():\n",
        "what is masked taken for data",
        f"{_ROWS}[numpy-model(np.ma.masked_array(host, host > 1))]",
    ),
    Mutant(
        "dntk/_target_checks.py",
        "    if least < 0 or largest >= classes:\n",
        "    if largest >= classes:\n",
        "negative labels taken for classes",
        f"{_ROWS}[numpy-fit.score(x, y - 1)]",
    ),
    Mutant(
        "dntk/estimator/specification.py",
        '    if hasattr(part, "distill") and _distils_data(part) != (name == "data"):\n',
        "    if False:\n",
        "an objective of inputs taken for a distiller of gradients",
        f"{_ROWS}[numpy-dntk.DistilledNTK(model, data=dntk.distill.gradients.Solutio]",
    ),
    Mutant(
        "dntk/_kernel_checks.py",
        "bool(arrays.namespace(values).any(values[1:] > values[:-1]))",
        "False",
        "ascending eigenvalues read as descending ones",
        f"{_ROWS}[numpy-dntk.spectrum.truncation_rank(ascending)]",
    ),
    Mutant(
        "dntk/_kernel_checks.py",
        "if found > (_ROUNDING + arrays.epsilon(matrix)) * largest:",
        "if False:",
        "asymmetric matrices are symmetrised without a word",
        SYMMETRIC + "test_an_asymmetric_kernel_is_refused_by_name_size_and_remedy",
    ),
    Mutant(
        "dntk/_kernel_checks.py",
        "largest, found = arrays.largest_magnitude(matrix), asymmetry(matrix)",
        "largest, found = arrays.largest_magnitude(kernel), asymmetry(matrix)",
        "a small asymmetric matrix beside large ones passes",
        SYMMETRIC + "test_every_matrix_of_a_stack_is_looked_at_by_its_own_size",
    ),
    Mutant(
        "dntk/_kernel_checks.py",
        "return (wide + wide.mT) / 2",
        "return wide",
        "one triangle of a kernel decides, and the other is not looked at",
        SYMMETRIC + "test_what_rounding_left_is_symmetrised",
    ),
    Mutant(
        "dntk/_kernel_checks.py",
        "columns = arrays.in_float64(matrix[:, start:stop])",
        "columns = arrays.in_float64(matrix[:, :stop])[:, : stop - start]",
        "the first columns are compared with all rows",
        SYMMETRIC + "test_the_largest_difference_is_found_in_whatever_block",
    ),
]
