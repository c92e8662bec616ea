"""A mode of torch under which batch norms have right gradients for a batch of one."""

from typing import Any

import torch
from torch.nn import functional

from dntk_torch.undisturbed import Mode


class SingleInput(Mode):
    """Gives what follows a batch norm a layout of its own.

    Where images are flattened to rows of channels behind a batch norm, the gradient of one image comes back with
    strides that PyTorch (2.13, CPU) misreads in ``batch_norm``: all parameters before get wrong gradients, by as much
    as they are large. Two images have other strides. A reshape on the way lets the gradient come in the image's layout.
    """

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch."""
        found = func(*args, **(kwargs or {}))
        if func is functional.batch_norm and isinstance(found, torch.Tensor):
            return found.reshape(-1).reshape(found.shape)
        return found
