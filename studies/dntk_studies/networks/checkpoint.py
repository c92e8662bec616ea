"""A training run on disk: tensors as safetensors, the rest as JSON, replaced whole after every epoch."""

import json
from pathlib import Path
from typing import Any

import torch

from dntk.archive import write_whole

_NAME = "training.safetensors"


def write_checkpoint(folder: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    """Replace the checkpoint in ``folder``; the old one stays where writing fails."""
    from safetensors.torch import save

    payload = save({k: v.contiguous() for k, v in tensors.items()}, metadata={"state": json.dumps(state)})
    write_whole(folder / _NAME, payload)


def read_checkpoint(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and state of the checkpoint in ``folder``, or ``None``."""
    from safetensors import safe_open

    path = folder / _NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            state = json.loads(stored.metadata()["state"])
            return {name: stored.get_tensor(name) for name in stored.keys()}, state  # noqa: SIM118
    except Exception as error:
        msg = f"{path} is damaged ({error}): delete it, and the network is trained again."
        raise ValueError(msg) from error
