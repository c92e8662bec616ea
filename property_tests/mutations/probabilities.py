"""Links of outputs to probabilities, and how they are judged."""

from property_tests.mutations.mutant import Mutant

MUTANTS = [
    Mutant(
        "dntk/probabilities/links.py",
        "np.concatenate([one, -one])",
        "np.concatenate([one, one])",
        "draws of logits are not antithetic",
        "tests/test_probabilities.py::test_draws_are_symmetric",
    ),
    Mutant(
        "dntk/probabilities/links.py",
        "deviation * (self.scale * math.sqrt(math.pi / 8))",
        "deviation**0.5 * (self.scale * math.sqrt(math.pi / 8))",
        "the probit takes a deviation for a variance",
        "tests/test_probabilities.py::test_probit_is_its_formula[numpy]",
    ),
    Mutant(
        "dntk/metrics.py",
        "np.ceil(largest * bins)",
        "(np.ceil(largest * bins) + 1)",
        "a probability falls into the bin above its own",
        "tests/test_probabilities.py::test_calibration_error_is_that_of_its_definition[numpy]",
    ),
]
