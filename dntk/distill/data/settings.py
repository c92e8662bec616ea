"""Checks and conventions that all objectives of inputs share."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dntk import arrays
from dntk._checks import check_seed, folder, integer, keep, positive_integer
from dntk._checks import decays as checked_decays
from dntk._checks import positive as checked_positive
from dntk.checkpoints import Checkpoints
from dntk.distill.data.descent import Checkpoint
from dntk.distill.data.distilled_data import Provenance
from dntk.identity import Identity, rounding_of
from dntk.models.base import Model
from dntk.types import Array


def check_settings(objective: Any, *positive: str) -> None:
    """Keep an objective's fields as Python's numbers.

    Raises
    ------
    ValueError
        Steps, decays or batches are no possible ones, or one of the fields named is not positive.
    """
    keep(
        objective,
        steps=integer("steps", objective.steps, least=0),
        decays=checked_decays("decays", objective.decays),
        seed=check_seed(objective.seed),
    )
    if objective.batch_size is not None:
        keep(objective, batch_size=positive_integer("batch_size", objective.batch_size))
    for name in positive:
        keep(objective, **{name: checked_positive(name, getattr(objective, name))})


def spread(x: Array) -> float:
    """Standard deviation of all values of the data, the unit of learning rates; 1 where they do not vary."""
    return float(arrays.namespace(x).std(x)) or 1.0


def checkpoint_at(
    path: str | Path | None, every: float, provenance: Provenance, model: Model, x: Array
) -> Checkpoint | None:
    """A checkpoint that belongs to one objective, network and data ``x``."""
    if path is None:
        return None
    path = folder("checkpoint", path)
    owner = hashlib.sha256(json.dumps(asdict(provenance), sort_keys=True).encode()).hexdigest()
    network = Identity.of(model, x, digest=provenance.model)
    return Checkpoint(path=path, every=every, owner=owner, network=network, rounding=rounding_of(model))


def kept_beside(checkpoint: Checkpoint | None) -> Checkpoints | None:
    """Where what is made of all data once is kept: a folder beside the checkpoint."""
    if checkpoint is None:
        return None
    folder = Checkpoints.at(f"{checkpoint.path}.data", {"objective, network, seed or data": checkpoint.owner})
    folder.require_network(checkpoint.network, checkpoint.rounding)
    return folder
