"""Attribution, leave-one-out of predictions, and the bounds of both in a span."""

from property_tests.mutations.mutant import Mutant

SMOOTHER = "dntk/attribution/smoother.py"
LABELS = "dntk/attribution/_label_margins.py"
LEFT_OUT = "dntk/attribution/_leave_one_out.py"
TESTS = "tests/test_attribution.py::"
BOUND = "property_tests/test_attribution.py::test_distilled_leave_one_out_is_within_its_bound[numpy]"
SCORES = TESTS + "test_scores_are_those_of_their_definition[numpy-margins]"

MUTANTS = [
    Mutant(
        LEFT_OUT,
        "return (self.targets - self._left_out()).T",
        "return (self.targets - self.ridge * self.dual).T",
        "points are held out of their own prediction in name only",
        TESTS + "test_margins_of_labels_are_those_of_refitting_without_each_point[numpy-1-4]",
    ),
    Mutant(
        LEFT_OUT,
        "return Bound(value=self._left_out_errors().T",
        "return Bound(value=0 * self._left_out_errors().T",
        "the bound on what points are held out to be is nothing",
        BOUND,
    ),
    Mutant(
        LABELS,
        "return given - xp.max(xp.where(own, outside, held_out), axis=1)",
        "return given - xp.max(held_out, axis=1)",
        "a label competes with itself",
        TESTS + "test_margins_of_labels_are_those_of_refitting_without_each_point[numpy-1-4]",
    ),
    Mutant(
        SMOOTHER,
        "coupling = image - kept.mT @ (kept @ image)",
        "coupling = 0 * image",
        "what the span leaves of a gradient's image is forgotten",
        BOUND,
    ),
    Mutant(
        SMOOTHER,
        "unit * sizes) * ridge**-0.5",
        "unit * sizes)",
        "the bound on a smoother is not in units of the ridge",
        BOUND,
    ),
    Mutant(
        SMOOTHER,
        "ridge * xp.sum(inverse * inverse, axis=1)",
        "xp.sum(inverse * inverse, axis=1)",
        "one minus the leverage of the dual lacks its ridge",
        TESTS + "test_leave_one_out_is_refitting_without_each_point[numpy-12]",
    ),
    Mutant(
        LEFT_OUT,
        "return self.ridge * self.dual / self.smoother.slacks",
        "return self.ridge * self.dual",
        "residuals in sample are taken for left-out ones",
        TESTS + "test_leave_one_out_is_refitting_without_each_point[numpy-4]",
    ),
    Mutant(
        LEFT_OUT,
        "identity[None, :, :] - inside.mT",
        "identity[None, :, :] + inside.mT",
        "groups are left out with the wrong sign",
        TESTS + "test_groups_are_left_out_exactly[numpy-False]",
    ),
    Mutant(
        "dntk/attribution/explanation.py",
        "rest=prediction - xp.sum(shown, axis=1)",
        "rest=prediction",
        "what the neighbours add is counted twice",
        "tests/test_explanation.py::test_terms_and_the_rest_sum_to_the_prediction[numpy]",
    ),
    Mutant(
        "dntk/attribution/functionals.py",
        "xp.where(values[:, 0] > 0, small, xp.ones_like(small))",
        "xp.where(values[:, 0] < 0, small, xp.ones_like(small))",
        "a point pulls with its probability, not with what is missing of it",
        SCORES,
    ),
]
