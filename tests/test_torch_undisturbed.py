"""Calls leave their thread as it was, whatever was put on it: each mode alone, and blocks that were never left."""

import contextlib
import threading

import pytest
import torch
from torch._functorch import eager_transforms
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from dntk_torch import undisturbed
from tests.torch_untouched import switches


class Functions(TorchFunctionMode):
    def __torch_function__(self, func, _types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def forward_level():
    block = undisturbed.ForwardMode()
    block.__enter__()
    forward_ad.enter_dual_level()
    eager_transforms.JVP_NESTING += 1


def out_of_inference():
    undisturbed.OutOfInference().__enter__()
    assert not torch.is_inference_mode_enabled()


DISTURBANCES = {
    "a mode of functions": lambda: Functions().__enter__(),
    "a mode of operations": lambda: Operations().__enter__(),
    "a level of a transform": torch._C._functorch._grad_increment_nesting,
    "forward mode": forward_level,
    "its lock": undisturbed.FORWARD_MODE.acquire,
    "no inference": out_of_inference,
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "autograd": lambda: torch._C._set_grad_enabled(False),
}


def state():
    """Modes of this thread, and whether forward mode is its own."""
    return switches(), eager_transforms.JVP_NESTING, undisturbed.FORWARD_MODE._is_owned()


def taken_by_others():
    """Whether another thread can have forward mode."""
    found = []

    def take():
        found.append(undisturbed.FORWARD_MODE.acquire(timeout=5))
        if found[0]:
            undisturbed.FORWARD_MODE.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", DISTURBANCES)
def test_what_a_call_put_on_its_thread_and_did_not_take_away_is_gone(name, ending):
    @undisturbed.undisturbed
    def call():
        before = state()
        DISTURBANCES[name]()
        assert state() != before
        if ending is not None:
            raise ending

    with torch.inference_mode(name == "no inference"):
        before = state()
        with contextlib.nullcontext() if ending is None else pytest.raises(ending):
            call()
        assert state() == before
        assert taken_by_others()


def test_an_interrupt_while_the_thread_is_put_back_is_made_good(monkeypatch):
    back, calls = undisturbed._back, []

    def interrupted(before):
        calls.append(before)
        if len(calls) == 1:
            raise KeyboardInterrupt
        back(before)

    monkeypatch.setattr(undisturbed, "_back", interrupted)
    before = state()
    with pytest.raises(KeyboardInterrupt):
        undisturbed.undisturbed(torch._C._set_grad_enabled)(False)
    assert len(calls) == 2
    assert state() == before


def test_blocks_of_generators_are_left_with_the_interrupt_and_errors_keep_their_frames():
    left = []

    @contextlib.contextmanager
    def block():
        try:
            yield
        finally:
            left.append(True)

    @undisturbed.undisturbed
    def call(error):
        held = block()
        held.__enter__()
        raise error

    interrupt, fault = KeyboardInterrupt(), ValueError("a fault")
    with pytest.raises(KeyboardInterrupt):
        call(interrupt)
    assert left == [True]  # though its traceback is still here
    with pytest.raises(ValueError, match="a fault") as caught:
        call(fault)
    assert left == [True]
    assert "held" in caught.traceback[-1].frame.f_locals  # for who looks for the fault


def test_steps_of_blocks_are_undisturbed_and_what_the_consumer_sets_stays():
    def items():
        for number in range(3):
            torch._C._set_grad_enabled(False)
            Functions().__enter__()
            yield number

    before, found = state(), []
    for item in undisturbed.undisturbed_steps(items()):
        found.append(item)
        assert state()[0][0] == before[0][0]
        assert torch.is_grad_enabled() == (item == 0)
        torch._C._set_grad_enabled(False)  # the consumer's own
    torch._C._set_grad_enabled(True)
    assert found == [0, 1, 2]
    assert state() == before


def test_blocks_together_are_entered_all_or_none_and_left_in_turn():
    order = []

    class Block:
        def __init__(self, name, fails=False):
            self.name, self.fails = name, fails

        def __enter__(self):
            if self.fails:
                raise ValueError(self.name)
            order.append(f"in {self.name}")

        def __exit__(self, *_):
            order.append(f"out {self.name}")

    with undisturbed.Together(Block("a"), Block("b")):
        pass
    assert order == ["in a", "in b", "out b", "out a"]
    order.clear()
    with pytest.raises(ValueError, match="c"):
        undisturbed.Together(Block("a"), Block("c", fails=True)).__enter__()
    assert order == ["in a", "out a"]


class Ours(undisturbed.Mode):
    def __torch_function__(self, func, _types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def depth():
    return torch._C._len_torch_function_stack()


def test_a_mode_takes_away_what_came_since_it_was_put_and_nothing_before():
    with Functions():
        outer = depth()
        mode = Ours()
        with mode:
            Functions().__enter__()  # never left
            assert depth() == outer + 2
        assert depth() == outer
        with mode, mode:
            torch._C._pop_torch_function_stack()  # as while it serves a call
            torch._C._pop_torch_function_stack()
        assert depth() == outer
    assert depth() == outer - 1


def test_a_block_outside_of_inference_goes_back_to_it():
    with torch.inference_mode():
        for _ in range(2):
            with undisturbed.OutOfInference():
                assert not torch.is_inference_mode_enabled()
                assert not torch.ones(1).is_inference()
            assert torch.is_inference_mode_enabled()
    with undisturbed.OutOfInference():
        assert not torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()


def test_forward_mode_is_one_threads_at_a_time():
    inside, together = [], []

    def use(go_on):
        with undisturbed.ForwardMode():
            inside.append(True)
            together.append(len(inside))
            go_on.wait(0.2)
            inside.pop()

    never = threading.Event()
    threads = [threading.Thread(target=use, args=(never,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1, 1, 1]
    assert taken_by_others()


def test_a_block_outside_of_autocast_goes_back_to_it():
    a = torch.ones((2, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with undisturbed.OutOfAutocast("cpu"):
            assert (a @ a).dtype == torch.float32
        assert (a @ a).dtype == torch.bfloat16
    with undisturbed.OutOfAutocast("cpu"):
        assert (a @ a).dtype == torch.float32
    assert (a @ a).dtype == torch.float32


def test_a_level_that_ends_with_the_traceback_is_not_counted_down_twice():
    def call():
        with undisturbed.ForwardMode():
            level = eager_transforms.jvp_increment_nesting()
            level.__enter__()
            raise KeyboardInterrupt  # where the level's own end would begin

    before = switches(), eager_transforms.JVP_NESTING
    try:
        with pytest.raises(KeyboardInterrupt):
            undisturbed.undisturbed(call)()
        assert (switches(), eager_transforms.JVP_NESTING) == before
    finally:
        eager_transforms.JVP_NESTING = 0
