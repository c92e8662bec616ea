"""The network inside what PyTorch wraps around it to compile it, to average it or to spread it over devices."""

from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

_IN_MODULE = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel, AveragedModel)


def unwrapped(net: torch.nn.Module) -> torch.nn.Module:
    """The user's own module, whose outputs are the same; wrappers may stand in wrappers.

    Raises
    ------
    ValueError
        Its parameters are sharded over processes, of which none has them all.
    """
    while True:
        inner: Any = net.module if isinstance(net, _IN_MODULE) else getattr(net, "_orig_mod", net)
        if inner is net:
            _require_whole(net)
            return net
        net = inner


def _require_whole(module: torch.nn.Module) -> None:
    sharded = [name for name, value in module.named_parameters() if hasattr(value, "full_tensor")]
    wrapped = [name for name, part in module.named_modules() if type(part).__name__ == "FullyShardedDataParallel"]
    if sharded or wrapped:
        what = f"the parameter {sharded[0]!r}" if sharded else f"the layer {wrapped[0]!r}"
        msg = (
            f"{what} is sharded over processes: load torch.distributed.checkpoint.state_dict.get_model_state_dict(net, "
            "options=StateDictOptions(full_state_dict=True)) into a network that is not, and pass that."
        )
        raise ValueError(msg)
