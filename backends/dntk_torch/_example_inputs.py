"""The number of a network's outputs, from inputs made up for its first layer."""

from collections.abc import Iterator

import torch
from torch import nn

from dntk_torch.execution import detached, run, without_graph
from dntk_torch.process_wide import quiet

_IMAGE_SIDES = (28, 32, 64, 224, 8)
_SIGNAL_LENGTHS = (32, 100, 128, 1000, 784)
_TEXT_LENGTHS = (8, 5)


def guessed_outputs(module: nn.Module) -> int | None:
    """Number of outputs on which all accepted made-up inputs agree, ``None`` without any."""
    values = detached(module)
    device = next(iter(values.values())).device
    answers = set()
    with without_graph(device), quiet():  # what a wrong guess sets off is no warning to the user
        for shape, dtype in _candidates(module):
            try:
                outputs = run(module, values, torch.zeros(shape, dtype=dtype, device=device))
            except Exception:
                # A wrong guess may fail anywhere in the user's code, in any way.
                continue
            if isinstance(outputs, torch.Tensor) and outputs.ndim == 2 and outputs.shape[0] == 1:
                answers.add(int(outputs.shape[1]))
    return answers.pop() if len(answers) == 1 else None


def _candidates(module: nn.Module) -> Iterator[tuple[tuple[int, ...], torch.dtype]]:
    """Shapes and dtypes of one input, from the first layer that tells its size."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            yield (1, layer.in_features), layer.weight.dtype
            yield (1, 4, layer.in_features), layer.weight.dtype
        elif isinstance(layer, nn.Conv1d):
            yield from (((1, layer.in_channels, length), layer.weight.dtype) for length in _SIGNAL_LENGTHS)
        elif isinstance(layer, nn.Conv2d):
            yield from (((1, layer.in_channels, side, side), layer.weight.dtype) for side in _IMAGE_SIDES)
        elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            yield from (((1, length), torch.int64) for length in _TEXT_LENGTHS)
        elif isinstance(layer, nn.BatchNorm1d):
            yield (1, layer.num_features), layer.running_mean.dtype
        elif isinstance(layer, nn.LayerNorm):
            yield (
                (1, *layer.normalized_shape),
                layer.weight.dtype if layer.weight is not None else torch.float32,
            )
            yield (
                (1, 4, *layer.normalized_shape),
                layer.weight.dtype if layer.weight is not None else torch.float32,
            )
        else:
            continue
        return
