"""Calls that leave their thread as it was, wherever in them an interrupt comes.

Between the end of a ``with`` block and its ``__exit__``, and at the start of that, Python may raise an interrupt: the
block is then never left. What such a block put, a mode of torch, autograd switched off, a level of a function
transform, would stay on the thread and change what the user computes next. So every call that runs the network compares
its thread with what it was, twice: an interrupt of the first time is made good by the second.
"""

import contextlib
import functools
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch._functorch import eager_transforms
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_LEVELS: Any = torch._C._functorch
_AUTOCAST = tuple(kind for kind in ("cpu", "cuda", "xpu", "mps") if torch.amp.is_autocast_available(kind))


class _Guards(threading.local):
    """Blocks of a thread that only the object knows how to leave, first to last."""

    def __init__(self) -> None:
        self.held: list[Any] = []


_GUARDS = _Guards()
FORWARD_MODE = threading.RLock()
"""Held while forward mode runs: its dual numbers have one level in a process, which ends with the first to leave it."""


class _Thread(NamedTuple):
    """What PyTorch keeps for a thread."""

    functions: int
    dispatch: int
    levels: int
    guards: int
    forward: bool
    autocast: tuple[bool, ...]
    grad: bool


def undisturbed(call: Callable[P, R]) -> Callable[P, R]:
    """``call``, after which the thread is as it was. Cost: microseconds."""

    @functools.wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = _now()
        try:
            try:
                return call(*args, **kwargs)
            except BaseException as error:
                if not isinstance(error, Exception):
                    _end_generators(error)
                raise
            finally:
                _back(before)
        finally:
            _back(before)

    return run


def undisturbed_steps(items: Iterator[T]) -> Iterator[T]:
    """The same items; every step is :func:`undisturbed`, and what the consumer does in between is its own."""
    step, end = undisturbed(next), object()
    while (item := step(items, end)) is not end:
        yield item  # type: ignore[misc]


class Together:
    """Several blocks as one, the last left first.

    Not ``contextlib.contextmanager``: what an interrupt cut off would then be left when its traceback is thrown away,
    out of turn.
    """

    def __init__(self, *blocks: contextlib.AbstractContextManager[Any]) -> None:
        self._blocks, self._entered = blocks, contextlib.ExitStack()

    def __enter__(self) -> None:
        """Enter all blocks, or none."""
        try:
            for block in self._blocks:
                self._entered.enter_context(block)
        except BaseException:
            self._entered.close()
            raise

    def __exit__(self, *error: Any) -> None:
        """Leave them."""
        self._entered.__exit__(*error)


class Mode(TorchFunctionMode):  # type: ignore[misc]
    """A mode of functions whose exit takes from the thread what came since it was entered, be it nothing.

    PyTorch takes a mode away while it serves a call. Where an interrupt comes then, it is not there when it is left.
    """

    def __enter__(self) -> "Mode":
        """Put the mode."""
        self.__dict__.setdefault("_depths", []).append(torch._C._len_torch_function_stack())
        torch._C._push_on_torch_function_stack(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        _pop_functions(self.__dict__["_depths"].pop())


class OutOfInference:
    """A block outside of the caller's inference mode."""

    def __enter__(self) -> None:
        """Leave inference mode."""
        self._depth = len(_GUARDS.held)
        if torch.is_inference_mode_enabled():
            _GUARDS.held.append(torch._C._InferenceMode(False))

    def __exit__(self, *_: object) -> None:
        """Go back to it."""
        _release(self._depth)


class ForwardMode:
    """A block in which this thread alone uses forward mode, whose level is one of the whole process."""

    def __init__(self) -> None:
        self._locked, self._depth, self._level, self._nesting = False, 0, -1, 0

    def __enter__(self) -> None:
        """Wait for other threads."""
        self._depth = len(_GUARDS.held)
        FORWARD_MODE.acquire()
        self._locked, self._level, self._nesting = True, forward_ad._current_level, eager_transforms.JVP_NESTING
        _GUARDS.held.append(_Ending(self._end))

    def __exit__(self, *_: object) -> None:
        """Let others have it, without any level that was not left."""
        _release(self._depth)

    def _end(self) -> None:
        if self._locked:
            _leave_level(self._level + 1)
            eager_transforms.JVP_NESTING = self._nesting
            self._locked = False
            FORWARD_MODE.release()


class _Ending(NamedTuple):
    """What ends a block, as PyTorch's guards are ended."""

    end: Callable[[], None]

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.end()


class OutOfAutocast:
    """A block outside of the caller's autocast.

    Only its flag: the count of blocks by which ``torch.autocast`` knows when its cache is stale is left alone.
    """

    def __init__(self, kind: str) -> None:
        self._kind, self._before = kind, False

    def __enter__(self) -> None:
        """Switch it off."""
        self._before = torch.is_autocast_enabled(self._kind)
        torch.set_autocast_enabled(self._kind, False)

    def __exit__(self, *_: object) -> None:
        """Switch it on where it was."""
        torch.set_autocast_enabled(self._kind, self._before)


def _now() -> _Thread:
    return _Thread(
        functions=torch._C._len_torch_function_stack(),
        dispatch=torch._C._len_torch_dispatch_stack(),
        levels=_LEVELS.get_dynamic_layer_stack_depth(),
        guards=len(_GUARDS.held),
        forward=FORWARD_MODE._is_owned(),  # type: ignore[attr-defined]
        autocast=tuple(map(torch.is_autocast_enabled, _AUTOCAST)),
        grad=torch.is_grad_enabled(),
    )


def _back(before: _Thread) -> None:
    """Leave what was not left, the last first."""
    _pop_functions(before.functions)
    while torch._C._len_torch_dispatch_stack() > before.dispatch:
        _leave_dispatch()
    if _LEVELS.get_dynamic_layer_stack_depth() > before.levels:
        _LEVELS.pop_dynamic_layer_stack_and_undo_to_depth(before.levels)
    _release(before.guards)
    # A level that ended with the traceback was counted down once more, after its block had put the count back.
    if eager_transforms.JVP_NESTING < 0:
        eager_transforms.JVP_NESTING = 0
    while FORWARD_MODE._is_owned() and not before.forward:  # type: ignore[attr-defined]
        FORWARD_MODE.release()  # taken, and interrupted before that was noted
    for kind, enabled in zip(_AUTOCAST, before.autocast, strict=True):
        if torch.is_autocast_enabled(kind) != enabled:
            torch.set_autocast_enabled(kind, enabled)
    if torch.is_grad_enabled() != before.grad:
        torch._C._set_grad_enabled(before.grad)


def _end_generators(error: BaseException) -> None:
    """Leave now what blocks made of generators would leave when the traceback is thrown away."""
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__context__


def _pop_functions(depth: int) -> None:
    while torch._C._len_torch_function_stack() > depth:
        torch._C._pop_torch_function_stack()


def _leave_level(level: int) -> None:
    """Leave a level of forward mode, if it is there: PyTorch has one, and a number of it that may be late or early."""
    with contextlib.suppress(RuntimeError):
        torch._C._exit_dual_level(level=level)
    forward_ad._current_level = level - 1


def _leave_dispatch() -> None:
    depth = torch._C._len_torch_dispatch_stack()
    mode: Any = torch._C._get_dispatch_stack_at(depth - 1)
    with contextlib.suppress(Exception):  # it had begun to leave, and misses what it put back
        mode.__exit__(None, None, None)
    if torch._C._len_torch_dispatch_stack() == depth:
        torch._C._pop_torch_dispatch_stack(None)


def _release(depth: int) -> None:
    """End guards beyond so many. One that has ended may end again."""
    while len(_GUARDS.held) > depth:
        _GUARDS.held[-1].__exit__(None, None, None)
        _GUARDS.held.pop()
