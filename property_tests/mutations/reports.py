"""Pages of fits."""

from property_tests.mutations.mutant import Mutant

PAGE, ROOM, TESTS = "dntk/report/page.py", "dntk/estimator/reporting/", "tests/test_report.py::"

MUTANTS = [
    Mutant(
        PAGE,
        'return f"<td>{cell if isinstance(cell, Markup) else html.escape(cell)}</td>"',
        'return f"<td>{cell}</td>"',
        "names of classes run as HTML",
        TESTS + "test_a_page_is_well_formed_and_asks_for_nothing",
    ),
    Mutant(
        PAGE,
        "    svg = re.sub(r'\\bid=\"', f'id=\"{prefix}', svg)\n",
        "",
        "two plots with the same identifiers, whose parts point at each other",
        TESTS + "test_a_page_is_well_formed_and_asks_for_nothing",
    ),
    Mutant(
        ROOM + "measured.py",
        "running[:, :, s - 1]",
        "running[:, :, s]",
        "the curve told for one direction more than is used",
        TESTS + "test_the_curve_is_the_predictor_projected_on_its_leading_directions",
    ),
    Mutant(
        ROOM + "influence.py",
        "    if apart > _SAME:\n",
        "    if False:\n",
        "predictions explained by another regression than the fit's",
        TESTS + "test_other_points_or_targets_than_those_of_the_fit_are_refused",
    ),
    Mutant(
        ROOM + "influence.py",
        "min(1.0, part / value)",
        "min(1.0, value / every[0])",
        "the spectrum told as coverage",
        TESTS + "test_coverage_is_what_the_distilled_kernel_keeps_of_each_eigenvalue",
    ),
    Mutant(
        ROOM + "_of_fit.py",
        "    if not certify and not state.certificate.is_made:\n",
        "    if False:\n",
        "a certificate made that nobody asked for",
        TESTS + "test_what_was_not_given_is_said_with_the_call_that_gives_it",
    ),
    Mutant(
        "dntk/report/charts.py",
        'folded("The numbers" if drawn else self.caption, told)',
        'folded("The numbers", told)',
        "numbers of charts that are not drawn, without a word of what they are",
        TESTS + "test_without_matplotlib_a_page_has_numbers_and_says_what_draws_them",
    ),
]
