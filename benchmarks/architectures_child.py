"""One network of ``architectures.py`` in a process of its own; prints a line of JSON.

Run: python benchmarks/architectures_child.py NAME
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from architectures_networks import ARCHITECTURES, Architecture
from measure import interleaved, relative_error
from torch import nn

import dntk

INPUTS, REPEATS, SECONDS = 3, 3, 4.0


def main() -> None:
    """Forms, errors and times of one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    architecture = ARCHITECTURES[parser.parse_args().name]
    warnings.simplefilter("ignore")
    print(json.dumps(measured(architecture)))


def measured(architecture: Architecture) -> dict[str, Any]:
    """What the table has of one network; kernels are the mean over outputs, at three inputs."""
    net, x = architecture.network(), architecture.inputs(INPUTS)
    model = dntk.as_model(net)
    forms = model.gradient_forms(x)
    kernel = dntk.ntk(model, x)
    seconds = _seconds(lambda: dntk.ntk(model, x), _floor(net, x))
    plain = _by_autograd(net, x)
    reference = _by_autograd(architecture.network(torch.float64), _wide(x))
    return {
        "library": architecture.library,
        "parameters": model.n_parameters,
        "share": forms.share,
        "tensors": len(forms.parameters),
        "per_input": [[found.name, found.why_not] for found in forms.per_input],
        "moves_rows": model._plan(x).rows.moved,
        "error": relative_error(kernel, reference),
        "autograd_error": relative_error(plain, reference),
        "seconds": seconds["dntk"],
        "floor_seconds": seconds["floor"],
    }


def _seconds(work: Callable[[], Any], floor: Callable[[], Any]) -> dict[str, float]:
    """Best times of both, repetitions alternating."""
    floor()
    start = time.perf_counter()
    work()
    once = time.perf_counter() - start
    repeats = max(2, min(REPEATS, int(SECONDS / (2 * once))))
    found = interleaved({"dntk": work, "floor": floor}, {"dntk": repeats, "floor": repeats})
    return {name: min(seconds) for name, seconds in found.items()}


def _outputs(net: nn.Module, x: Any) -> torch.Tensor:
    found: Any = net(**x) if isinstance(x, dict) else net(x)
    outputs: torch.Tensor = getattr(found, "logits", found)
    return outputs


def _floor(net: nn.Module, x: Any) -> Callable[[], None]:
    """One forward pass, and a backward pass per output that forms the gradient of the batch."""
    parameters = [value for value in net.parameters() if value.requires_grad]

    def work() -> None:
        outputs = _outputs(net, x)
        for column in outputs.sum(0):
            torch.autograd.grad(column, parameters, retain_graph=True, allow_unused=True)

    return work


def _by_autograd(net: nn.Module, x: Any) -> torch.Tensor:
    """The mean kernel in float64 from gradients by plain autograd, in the network's own dtype, one input at a time.

    Every input comes twice: PyTorch 2.13 gives wrong gradients behind a batch norm for a batch of one.
    """
    parameters = [value for value in net.parameters() if value.requires_grad]
    count = next(iter(x.values())).shape[0] if isinstance(x, dict) else x.shape[0]
    outputs = [_outputs(net, _span(x, i))[0] for i in range(count)]
    total = torch.zeros(count, count, dtype=torch.float64)
    for c in range(len(outputs[0])):
        rows = [torch.autograd.grad(each[c], parameters, retain_graph=True, allow_unused=True) for each in outputs]
        for grads in zip(*rows, strict=True):
            if grads[0] is not None:
                stacked = torch.stack([grad.flatten() for grad in grads]).double()
                total += stacked @ stacked.T
    return total / len(outputs[0])


def _span(x: Any, i: int) -> Any:
    return {name: value[[i, i]] for name, value in x.items()} if isinstance(x, dict) else x[[i, i]]


def _wide(x: Any) -> Any:
    return x if isinstance(x, dict) else x.double()


if __name__ == "__main__":
    main()
