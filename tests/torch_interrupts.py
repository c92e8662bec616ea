"""Interrupts everything that runs a network, at every moment, and looks whether the network is as it was.

Run it by hand: ``python -m tests.torch_interrupts [INTERRUPTS]``; 10,000 take some minutes. Ends with 1 if a network
was changed.
"""

import sys

import torch

import dntk
from tests.torch_networks import batch, network
from tests.torch_untouched import interrupted_after, portrait

NAMES = ("residual", "transformer-batch-first", "recurrent", "spectral-norm", "bare-parameters", "untransformable")


def results(net, x):
    """One of everything that runs the network."""
    model = dntk.as_model(net)
    outputs = model(x)
    list(model.gradient_blocks(x, torch.eye(outputs.shape[1])))
    model.jvp(x, torch.ones(1, model.n_parameters))
    model.vjp(x, torch.ones_like(outputs))


def main(interrupts):
    """Number of interrupts after which a network had changed."""
    changed = done = 0
    for name in NAMES:
        net, x = network(name), batch(name)[:2]
        before = portrait(net)
        lines = interrupted_after(10**9, lambda net=net, x=x: results(net, x))
        step = max(1, lines * len(NAMES) // interrupts)
        for moment in range(1, lines, step):
            interrupted_after(moment, lambda net=net, x=x: results(net, x))
            changed += portrait(net) != before
            done += 1
        print(f"{name}: {lines} moments, {done} interrupts so far, {changed} networks changed", flush=True)
    return changed


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)))
