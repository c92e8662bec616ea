"""bmdal-reg's LCMD (Holzmüller and others, JMLR 2023): as it is called, and on features of ours."""

import importlib.util
from typing import Any

import numpy as np
import torch

DIM = 512
"""Sketched features of its published figures."""


def installed() -> bool:
    """Whether it can be imported."""
    return importlib.util.find_spec("bmdal_reg") is not None


def _modules() -> tuple[Any, ...]:
    """Its modules; ``np.Inf``, which NumPy 2 has no more and it still asks for, is put back first."""
    if not hasattr(np, "Inf"):
        np.Inf = np.inf  # noqa: NPY201
    from bmdal_reg.bmdal import algorithms, feature_data, feature_maps, features, selection

    return algorithms, feature_data, feature_maps, features, selection


def lcmd(net: Any, pool: torch.Tensor, labelled: torch.Tensor, size: int, seed: int) -> torch.Tensor:
    """Positions in the pool by its sketched gradients, conditioned on the labelled points."""
    algorithms, data, *_ = _modules()
    torch.manual_seed(seed)
    parts = {"train": data.TensorFeatureData(labelled), "pool": data.TensorFeatureData(pool)}
    picks, _ = algorithms.select_batch(
        batch_size=size,
        models=[net],
        data=parts,
        y_train=None,
        base_kernel="grad",
        kernel_transforms=[("rp", [DIM])],
        selection_method="lcmd",
        verbosity=0,
    )
    return picks


def on_features(pool: torch.Tensor, labelled: torch.Tensor, size: int, method: str) -> torch.Tensor:
    """Positions by features (n, d) that were made elsewhere."""
    _, data, maps, features, selection = _modules()
    plain = maps.IdentityFeatureMap(pool.shape[1])
    parts = [features.Features(plain, data.TensorFeatureData(part)) for part in (pool, labelled)]
    method_of = {
        "LCMD": selection.LargestClusterMaxDistSelectionMethod,
        "MaxDet": selection.MaxDetSelectionMethod,
    }[method]
    return method_of(*parts, sel_with_train=True, verbosity=0).select(size)
