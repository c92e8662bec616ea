"""Ways to believe forms of gradients that were compared with nothing."""

from property_tests.mutations.mutant import Mutant

TORCH = "backends/dntk_torch/"
JAX = "backends/dntk_jax/"
TESTS = "tests/test_torch_evidence.py::"
HIDDEN = TESTS + "test_forms_of_what_the_first_inputs_hide_are_compared_at_others"
JAX_TESTS = "tests/test_jax_evidence.py::"
JAX_ALONE = JAX_TESTS + "test_where_no_input_alone_shows_a_gradient_it_is_found_input_by_input_without_more_looks"
ALONE = TESTS + "test_where_no_input_alone_shows_a_gradient_it_is_found_input_by_input_without_more_looks"

MUTANTS = [
    Mutant(
        TORCH + "probe.py",
        "        untold=test.untold,\n",
        "        untold=test.unreached,\n",
        "forms compared with gradients of zero are believed",
        HIDDEN,
    ),
    Mutant(
        TORCH + "probe.py",
        "{name: found for name, found in layouts.items() if name not in test.untold}",
        "layouts",
        "the bias of a layer whose inputs are zero is lost with its weight",
        TESTS + "test_biases_of_layers_whose_inputs_are_zero_are_kept",
    ),
    Mutant(
        TORCH + "probe.py",
        "shown=cloned(few)",
        "shown=few",
        "a few inputs hold the whole batch",
        TESTS + "test_the_inputs_that_are_kept_are_few_and_the_batch_is_let_go",
    ),
    Mutant(
        TORCH + "_evidence.py",
        "inputs = batches.joined(inputs, batches.span(x, position, position + 1))",
        "inputs = batches.span(x, position, position + 1)",
        "what earlier batches showed is lost",
        TESTS + "test_what_one_batch_showed_is_not_lost_with_the_next",
    ),
    Mutant(
        TORCH + "_blocks.py",
        "{**asked, **edges}, cotangents, captured.cuts)",
        "{**asked, **edges}, cotangents)",
        "values that are made of a parameter behind a gate are lost",
        TESTS + "test_values_that_are_made_of_a_parameter_are_seen_behind_a_gate",
    ),
    Mutant(
        TORCH + "_confirming.py",
        "parameters, every, captured.cuts)",
        "parameters, every)",
        "weights that are made of parameters go input by input on every new way",
        TESTS + "test_what_is_made_of_a_parameter_is_compared_on_a_new_way",
    ),
    Mutant(
        TORCH + "_evidence.py",
        "return second if first is None else first if second is None else first + second",
        "return second if first is None else first",
        "only one of a parameter's ways to the outputs is compared",
        TESTS + "test_what_is_made_of_a_parameter_is_compared_on_a_new_way",
    ),
    Mutant(
        TORCH + "_blocks.py",
        "return None if name in self.forward.woken else block",
        "return block",
        "forms that could not be compared are believed",
        ALONE,
    ),
    Mutant(
        TORCH + "_blocks.py",
        "if block is None else _emptied(block)",
        "if block is None else block",
        "gradients of a form where there is none",
        TESTS + "test_a_form_that_gives_a_gradient_where_there_is_none_does_not_count",
    ),
    Mutant(
        TORCH + "_pushing.py",
        "if telling and not has_padding_row",
        "if not has_padding_row",
        "forward mode believed where it was compared with nothing",
        TESTS + "test_forward_mode_is_not_believed_for_what_it_was_not_compared_at",
    ),
    Mutant(
        TORCH + "_findings.py",
        "            self.pushes.forget(x, of=signature(net))\n",
        "            pass\n",
        "the slower way for ever, once inputs showed nothing",
        "tests/test_torch_masked.py::test_products_of_inputs_without_gradient_are_looked_at_again",
    ),
    Mutant(
        "dntk/models/adapter/_memo.py",
        "return self.made[key] < LOOKS",
        "return True",
        "a dead layer makes every call look at inputs",
        TESTS + "test_forward_mode_is_given_up_after_some_looks",
    ),
    Mutant(
        "dntk/models/adapter/_evidence.py",
        "        if here:\n",
        "        if True:\n",
        "inputs kept that show nothing",
        "tests/test_evidence.py::test_names_without_a_gradient_at_any_input_alone_are_left_out",
    ),
    Mutant(
        "dntk/models/adapter/_evidence.py",
        "if name in shown(batches.span(x, start, middle)) else (middle, stop)",
        "if name not in shown(batches.span(x, start, middle)) else (middle, stop)",
        "inputs looked for where they are not",
        "tests/test_evidence.py::test_every_name_has_a_gradient_at_some_position",
    ),
    Mutant(
        JAX + "plan.py",
        "        untold=test.untold,\n",
        "        untold=frozenset(),\n",
        "forms of JAX compared with gradients of zero are believed",
        JAX_TESTS + "test_forms_of_what_a_whole_batch_hides_are_compared_at_the_next",
    ),
    Mutant(
        JAX + "findings.py",
        "tried=plan.tried | new",
        "tried=plan.tried",
        "what shows no gradient on JAX is looked for at every call",
        JAX_ALONE,
    ),
    Mutant(
        JAX + "findings.py",
        "return plan, alive & plan.untold",
        "return plan, frozenset()",
        "parameters of JAX that wake have no gradient",
        JAX_ALONE,
    ),
    Mutant(
        JAX + "_evidence.py",
        "    inputs = known\n",
        "    inputs = batches.first(x)\n",
        "what earlier batches showed is lost on JAX",
        JAX_TESTS + "test_what_one_batch_showed_is_not_lost_with_the_next",
    ),
    Mutant(
        JAX + "_testing.py",
        "        with contextlib.suppress(_VanishingError):\n            return cls.draw(network, names, few)\n",
        "        return cls.draw(network, names, few, vanishing=True)\n",
        "networks refused on JAX whose first inputs have no gradient",
        JAX_TESTS + "test_a_gradient_that_only_some_data_have_is_found",
    ),
    Mutant(
        TORCH + "_blocks.py",
        "if order not in plan.told[name]",
        "if order < 0",
        "a second use believed that was compared with nothing",
        TESTS + "test_every_use_of_a_parameter_has_to_be_compared",
    ),
    Mutant(
        TORCH + "_elsewhere.py",
        "if name not in elsewhere}",
        "if name}",
        "uses outside of layers behind a gate are not seen",
        TESTS + "test_a_use_outside_of_its_layer_is_seen_behind_a_gate",
    ),
    Mutant(
        TORCH + "_elsewhere.py",
        "for value in (*written, *new)",
        "for value in new",
        "uses outside of layers that write into a tensor are not seen",
        TESTS + "test_a_use_outside_of_its_layer_is_seen_behind_a_gate[in_place]",
    ),
    Mutant(
        TORCH + "functional_capture.py",
        "tensors((args, kwargs) if output is None else output)",
        "tensors(output)",
        "parameters that are assigned behind a gate are not seen",
        TESTS + "test_a_use_outside_of_its_layer_is_seen_behind_a_gate[by_assignment]",
    ),
    Mutant(
        TORCH + "_testing.py",
        " or _FLAT & kinds_of_operations(outputs)",
        "",
        "a kernel of zeros of rounded outputs",
        TESTS + "test_rounded_outputs_of_whole_numbers_are_refused",
    ),
    Mutant(
        JAX + "_testing.py",
        "if gates and reaches_parameters(network, x, cotangents):",
        "if gates:",
        "a kernel of zeros of rounded outputs on JAX",
        JAX_TESTS + "test_rounded_outputs_of_whole_numbers_are_refused",
    ),
]
