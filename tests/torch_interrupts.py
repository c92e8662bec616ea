"""Interrupts everything that runs a network, at every moment, and looks whether the network is as it was.

Run it by hand: ``python -m tests.torch_interrupts [INTERRUPTS] [NETWORK ...] [--modes]``; 10,000 take some minutes.
With ``--modes`` all are where modes are put and taken back: in exits of blocks, and in functions that have blocks. One
run of every network forks at moments spread over it, down to single instructions of the interpreter; the child raises
``KeyboardInterrupt`` there, which is where Ctrl-C would, and compares the network, what it computes, the modes of its
thread and what the next call finds with what they were before. Ends with 1 if anything differs or waits for ever.
"""

import collections
import dis
import faulthandler
import functools
import os
import signal
import sys
import time

import torch

import dntk
from tests.torch_networks import batch, network
from tests.torch_untouched import portrait

NAMES = ("residual", "transformer-batch-first", "recurrent", "spectral-norm", "bare-parameters", "untransformable")
OUTCOMES = ("as it was", "network changed", "outputs differ", "next call differs", "another error", "did not arrive")
MODES = (
    "contextlib", "torch/overrides", "grad_mode", "forward_ad", "_python_dispatch", "_functorch/eager_transforms",
    "_functorch/vmap",
)  # fmt: skip
"""What puts modes and takes them back, besides the adapter."""
ADAPTER = ("dntk_torch", "torch_networks", "models/adapter")
WAIT, LOOK = 60, 0.005
"""Seconds after which a child is taken to wait for ever, and between looks at it. Looks are counted: where the whole
machine stood still, nobody has looked."""


def results(net, x):
    """One of everything that runs the network."""
    model = dntk.as_model(net)
    outputs = model(x)
    blocks = [block.dense() for block in model.gradient_blocks(x, torch.eye(outputs.shape[1]))]
    pushed = model.jvp(x, torch.ones(1, model.n_parameters))
    return [outputs, *blocks, pushed, model.vjp(x, torch.ones_like(outputs))]


@functools.cache
def anywhere(code):
    """Whether an instruction of some code may be interrupted."""
    return any(part in code.co_filename for part in (*ADAPTER, *MODES))


@functools.cache
def near_modes(code):
    """Whether some code puts modes or takes them back."""
    if any(part in code.co_filename for part in MODES) or code.co_name in ("__enter__", "__exit__", "_back"):
        return anywhere(code)
    return anywhere(code) and any(step.opname in ("BEFORE_WITH", "LOAD_SPECIAL") for step in dis.get_instructions(code))


def interrupted_in_children(call, look, moments, chosen):
    """Call once; fork at every one of some moments, and end the child with what ``look`` finds after an interrupt.

    Gives the number of moments, and how the children ended.
    """
    ran, child, ended = 0, False, collections.Counter()

    def trace(frame, event, _):
        nonlocal ran, child
        if not chosen(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            ran += 1
            if ran in moments:
                child = not (pid := os.fork())
                if child:
                    sys.settrace(None)
                    raise KeyboardInterrupt
                ended[_end(pid, f"moment {ran:,}, in {frame.f_code.co_qualname}:{frame.f_lineno}")] += 1
        return trace

    outcome = "did not arrive"
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        outcome = "as it was"
    except BaseException as error:
        outcome = "another error"
        if not child:
            raise
        print("in the place of the interrupt:", repr(error)[:300], flush=True)
    finally:
        sys.settrace(None)
        if child:
            _leave(outcome, look)
    return ran, ended


def _end(pid, where):
    for _ in range(int(WAIT / LOOK)):
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            break
        time.sleep(LOOK)
    else:
        os.kill(pid, signal.SIGABRT)  # it tells where it waits
        _, status, used = os.wait4(pid, 0)
    if os.WIFEXITED(status) and not os.WEXITSTATUS(status):
        return OUTCOMES[0]
    print(f"{where}: status {status}, {used.ru_utime + used.ru_stime:.2f} s of the processor", flush=True)
    return OUTCOMES[os.WEXITSTATUS(status)] if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"


def _leave(outcome, look):
    try:
        found = look()
        outcome = outcome if found == "as it was" else found
    except BaseException as error:
        print(repr(error), flush=True)
        outcome = "another error"
    finally:
        os._exit(OUTCOMES.index(outcome))


def looked_at(net, x):
    """What tells whether a network is as it is now."""
    before, expected = portrait(net), results(net, x)
    with torch.no_grad():
        plain = net(x.clone())

    def look():
        after = portrait(net)
        if after != before:
            print(
                "changed:", *(f"{a} to {b}" for a, b in zip(before[-1], after[-1], strict=True) if a != b), flush=True
            )
            return "network changed"
        with torch.no_grad():
            if not torch.equal(net(x.clone()), plain):
                return "outputs differ"
        same = all(torch.equal(a, b) for a, b in zip(results(net, x), expected, strict=True))
        return "as it was" if same and portrait(net) == before else "next call differs"

    return look


def main(interrupts, names=NAMES, chosen=anywhere):
    """How many interrupts did not leave everything as it was."""
    wrong, each = 0, -(-interrupts // len(names))
    for name in names:
        net, x = network(name), batch(name)[:2]
        look = looked_at(net, x)
        ran, _ = interrupted_in_children(lambda net=net, x=x: results(net, x), look, (), chosen)
        moments = {1 + ran * i // each for i in range(each)}
        _, ended = interrupted_in_children(lambda net=net, x=x: results(net, x), look, moments, chosen)
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(ended.items()))
        print(f"{name}: {ran:,} moments, {sum(ended.values()):,} interrupts: {told}", flush=True)
        wrong += sum(ended.values()) - ended["as it was"]
    return wrong


if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(1)
    numbers = [int(text) for text in sys.argv[1:] if text.isdigit()]
    named = [name for name in NAMES if name in sys.argv] or NAMES
    chosen = near_modes if "--modes" in sys.argv else anywhere
    sys.exit(bool(main(*(numbers or [10_000]), names=named, chosen=chosen)))
