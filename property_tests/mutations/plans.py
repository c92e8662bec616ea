"""Plans, and what the ledger knows beside the stages of a fit."""

from property_tests.mutations.mutant import Mutant

PLAN = "tests/test_plan.py::"
MEASURE = "dntk/plan/_measure.py"
PASSES = "tests/test_ledger_passes.py::"

MUTANTS = [
    Mutant(
        MEASURE,
        "value = low + slope * (at - a)",
        "value = low + slope * at",
        "a plan adds the first points twice",
        PLAN + "test_points_are_extrapolated_along_a_line_and_batches_by_what_each_begins_with",
    ),
    Mutant(
        MEASURE,
        "begins = min(b * (share - each), self.least, second.seconds)",
        "begins = b * (share - each)",
        "every batch begins with what two inexact times differ by",
        PLAN + "test_points_are_extrapolated_along_a_line_and_batches_by_what_each_begins_with",
    ),
    Mutant(
        MEASURE,
        "found.flops / two.flops if two.flops else outputs / 2",
        "outputs / 2",
        "what outputs share is paid by each of them",
        PLAN + "test_outputs_cost_a_part_each_beside_one_that_is_shared",
    ),
    Mutant(
        "dntk/estimator/_planning.py",
        "        _look(stages.parts.model, x)\n",
        "",
        "the first look at a network is a pass of its plan",
        PLAN + "test_a_plan_counts_no_pass_by_which_a_network_is_looked_at_first",
    ),
    Mutant(
        MEASURE,
        "whole, rest = divmod(n, self.batch)",
        "whole, rest = n // self.batch, 0",
        "a plan forgets the last batch",
        PLAN + "test_points_are_extrapolated_along_a_line_and_batches_by_what_each_begins_with",
    ),
    Mutant(
        MEASURE,
        "[share, share**2, share**3]",
        "[share, share**2, share**4]",
        "algebra grows with another power than the third",
        PLAN + "test_what_is_too_large_to_run_is_a_polynomial_in_its_size",
    ),
    Mutant(
        "dntk/kernels/_ntk.py",
        "again = sum(n - stop for _, stop in arrays.spans(n, size)) if x2 is None else rows * batches.count(x2)",
        "again = 0 if x2 is None else batches.count(x2)",
        "a plan of a kernel differentiates every input once",
        PLAN + "test_kernels_cost_the_passes_and_rows_that_are_planned[numpy-symmetric-5-mean]",
    ),
    Mutant(
        "dntk/estimator/_planning.py",
        "if self.y is None:",
        "if self.y is not None:",
        "a plan takes the targets' passes where none are needed",
        PLAN + "test_targets_that_are_given_cost_no_pass",
    ),
    Mutant(
        "dntk/estimator/specification.py",
        "Keep.of(self, x, y, None, memory_limit)",
        "Keep.of(self, x, y, None, None)",
        "a plan does not know the memory limit",
        PLAN + "test_a_memory_limit_that_a_fit_would_refuse_is_refused_before",
    ),
    Mutant(
        "dntk/estimator/state.py",
        "return Ledger(stages=(*self.ledger.stages, *more))",
        "return Ledger(stages=self.ledger.stages)",
        "the certificate costs in secret",
        PASSES + "test_certificate_and_queries_tell_what_they_took",
    ),
    Mutant(
        "dntk/certificates/prediction.py",
        "    count_product(along, b)\n",
        "",
        "half of the work of an uncertainty is not counted",
        PASSES + "test_operations_are_those_of_pytorchs_counter_whatever_asks_for_them[mlp-all parameters]",
    ),
    Mutant(
        "backends/dntk_torch/model.py",
        "self._findings.passes.forward(x, once)",
        "once()",
        "forward passes are in no ledger",
        PASSES + "test_operations_are_those_of_pytorchs_counter_whatever_asks_for_them[mlp-all parameters]",
    ),
]
