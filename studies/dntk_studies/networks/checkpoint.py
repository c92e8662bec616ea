"""A training run on disk: an archive of tensors and state, replaced whole after every epoch."""

from pathlib import Path
from typing import Any

import torch

from dntk.archive import Format, StoreError, read, schema, write
from dntk.backend import get_backend

_NAME = "training.safetensors"
_FORMAT = Format(
    name="dntk.Training",
    version=1,
    kind="training run",
    reader="dntk reproduce",
    fields={"epoch": schema.integer(), "seconds": schema.number(0)},
)


def write_checkpoint(folder: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    """Replace the checkpoint in ``folder``; the old one stays where writing fails."""
    write(folder / _NAME, _FORMAT, tensors, state)


def read_checkpoint(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and state of the checkpoint in ``folder``, or ``None``."""
    path = folder / _NAME
    if not path.is_file():
        return None
    try:
        stored = read(path, _FORMAT)
    except StoreError as error:
        msg = f"{path} is damaged or foreign ({error}): delete it, and the network is trained again."
        raise StoreError(msg) from error
    backend: Any = get_backend("torch")
    return {name: backend.from_numpy(stored.arrays[name]) for name in stored.arrays}, dict(stored.manifest)
