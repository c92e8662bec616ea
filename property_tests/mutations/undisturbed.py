"""Calls of networks of PyTorch that leave their thread as it was, and products that it would round."""

from property_tests.mutations.mutant import Mutant

FILE = "backends/dntk_torch/undisturbed.py"
TESTS = "tests/test_torch_undisturbed.py::"
GONE = TESTS + "test_what_a_call_put_on_its_thread_and_did_not_take_away_is_gone"

MUTANTS = [
    Mutant(
        FILE,
        "    _pop_functions(before.functions)\n",
        "",
        "a mode of functions stays on the thread",
        GONE + "[a mode of functions-KeyboardInterrupt]",
    ),
    Mutant(
        FILE,
        "    while torch._C._len_torch_dispatch_stack() > before.dispatch:\n        _leave_dispatch()\n",
        "",
        "a mode of operations stays on the thread",
        GONE + "[a mode of operations-KeyboardInterrupt]",
    ),
    Mutant(
        FILE,
        "if _LEVELS.get_dynamic_layer_stack_depth() > before.levels:",
        "if False:",
        "a level of a function transform stays on the thread",
        GONE + "[a level of a transform-None]",
    ),
    Mutant(
        FILE,
        "    _release(before.guards)\n",
        "",
        "inference mode stays off",
        GONE + "[no inference-KeyboardInterrupt]",
    ),
    Mutant(
        FILE,
        "while FORWARD_MODE._is_owned() and not before.forward:",
        "while False:",
        "other threads wait for ever for forward mode",
        GONE + "[its lock-KeyboardInterrupt]",
    ),
    Mutant(
        FILE,
        "if torch.is_autocast_enabled(kind) != enabled:",
        "if False:",
        "autocast stays switched",
        GONE + "[autocast-ValueError]",
    ),
    Mutant(
        FILE,
        "if torch.is_grad_enabled() != before.grad:",
        "if False:",
        "autograd stays switched off",
        GONE + "[autograd-KeyboardInterrupt]",
    ),
    Mutant(
        FILE,
        "        finally:\n            _back(before)\n\n    return run",
        "        finally:\n            pass\n\n    return run",
        "an interrupt while the thread is put back leaves it",
        TESTS + "test_an_interrupt_while_the_thread_is_put_back_is_made_good",
    ),
    Mutant(
        FILE,
        "                    _end_generators(error)\n",
        "                    pass\n",
        "blocks of generators are left when the traceback is thrown away",
        TESTS + "test_blocks_of_generators_are_left_with_the_interrupt_and_errors_keep_their_frames",
    ),
    Mutant(
        FILE,
        "if not isinstance(error, Exception):",
        "if True:",
        "frames of every error are emptied",
        TESTS + "test_blocks_of_generators_are_left_with_the_interrupt_and_errors_keep_their_frames",
    ),
    Mutant(
        FILE,
        "step, end = undisturbed(next), object()",
        "step, end = next, object()",
        "what the making of blocks sets reaches the consumer",
        TESTS + "test_steps_of_blocks_are_undisturbed_and_what_the_consumer_sets_stays",
    ),
    Mutant(
        FILE,
        "            self._entered.close()\n",
        "",
        "blocks stay entered where one of several fails",
        TESTS + "test_blocks_together_are_entered_all_or_none_and_left_in_turn",
    ),
    Mutant(
        FILE,
        '_pop_functions(self.__dict__["_depths"].pop())',
        "torch._C._pop_torch_function_stack()",
        "a mode that was gone when it was left takes another away",
        TESTS + "test_a_mode_takes_away_what_came_since_it_was_put_and_nothing_before",
    ),
    Mutant(
        FILE,
        "if torch.is_inference_mode_enabled():",
        "if False:",
        "gradients are asked for in inference mode",
        TESTS + "test_a_block_outside_of_inference_goes_back_to_it",
    ),
    Mutant(
        FILE,
        "        FORWARD_MODE.acquire()\n        self._locked,",
        "        FORWARD_MODE.acquire(blocking=False)\n        self._locked,",
        "two threads use forward mode at once",
        TESTS + "test_forward_mode_is_one_threads_at_a_time",
    ),
    Mutant(
        FILE,
        "            eager_transforms.JVP_NESTING = self._nesting\n",
        "",
        "the count of nested transforms stays",
        GONE + "[forward mode-KeyboardInterrupt]",
    ),
    Mutant(
        FILE,
        "            _leave_level(self._level + 1)\n",
        "",
        "a level of forward mode stays in the process",
        GONE + "[forward mode-KeyboardInterrupt]",
    ),
    Mutant(
        FILE,
        "torch.set_autocast_enabled(self._kind, False)",
        "pass",
        "networks run in 16 bits within the caller's autocast",
        TESTS + "test_a_block_outside_of_autocast_goes_back_to_it",
    ),
    Mutant(
        "dntk/_foreign.py",
        "    require_exact_products(value)\n",
        "",
        "products of tensors are rounded to 16 bits within autocast",
        "tests/test_torch_bad_input.py::test_calls_on_tensors_within_autocast_are_refused_and_right_outside_of_it",
    ),
]
