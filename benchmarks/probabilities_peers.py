"""laplace-torch (Daxberger and others 2021): the Gaussian process, the last layer, and KFAC of all layers."""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from strangers_networks import Images
from torch.utils.data import DataLoader, TensorDataset

Probabilities = Callable[[torch.Tensor], torch.Tensor]
"""Class probabilities (n, C) of inputs."""


def laplace_ways(subset: int, *, kfac: bool = False) -> dict[str, Callable[[Any, Images, Images], Probabilities]]:
    """Its forms where it is installed; none otherwise. KFAC of LeNet took more than 22 GB of memory."""
    if importlib.util.find_spec("laplace") is None:
        return {}
    found = {
        f"laplace-torch, gp of {subset}": _way("all", "gp", n_subset=subset, independent_outputs=True),
        "laplace-torch, last layer": _way("last_layer", "full"),
    }
    return found | ({"laplace-torch, KFAC": _way("all", "kron")} if kfac else {})


def _way(weights: str, structure: str, **more: Any) -> Callable[[Any, Images, Images], Probabilities]:
    """One form; the prior's precision is that of a grid by likelihood of the held-out points, as for ours."""

    def fit(net: Any, images: Images, held: Images) -> Probabilities:
        from laplace import Laplace

        torch.manual_seed(0)
        found = Laplace(net, "classification", subset_of_weights=weights, hessian_structure=structure, **more)
        found.fit(DataLoader(TensorDataset(images.x, images.y), batch_size=256))
        kind = "gp" if structure == "gp" else "glm"
        found.optimize_prior_precision(
            pred_type=kind,
            method="gridsearch",
            link_approx="probit",
            val_loader=DataLoader(TensorDataset(held.x, held.y), batch_size=256),
            log_prior_prec_min=-1,
            log_prior_prec_max=4,
            grid_size=7,
        )

        def probabilities(x: torch.Tensor) -> torch.Tensor:
            parts = [found(part, pred_type=kind, link_approx="probit").detach() for part in x.split(256)]
            return torch.cat(parts)

        return probabilities

    return fit
