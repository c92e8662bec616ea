"""dattri's TRAK, conjugate-gradient influence functions and TracIn, as its documentation calls them."""

import importlib.util
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

DIM = 512
"""dattri's default dimension of projections."""


def dattri_ways() -> list[Any]:
    """Its methods where it is installed; none otherwise."""
    if importlib.util.find_spec("dattri") is None:
        return []
    return [
        ("dattri TRAK", _trak),
        ("dattri IF-CG", _influence),
        ("dattri TracIn", _tracin),
    ]


def _pieces(net: nn.Module) -> Any:
    """The way that dattri has to call a network: flat parameters and one pair."""

    def logits(params: Any, pair: Any) -> tuple[Any, Any]:
        image, label = pair
        return functional_call(net, params, image.unsqueeze(0)), label.unsqueeze(0)

    def loss(params: Any, pair: Any) -> Any:
        image, label = pair  # one pair or a batch: the Hessian asks for all of them
        return nn.functional.cross_entropy(functional_call(net, params, image), label)

    def margin(params: Any, pair: Any) -> Any:
        p = torch.exp(-nn.functional.cross_entropy(*logits(params, pair)))
        return torch.log(p) - torch.log(1 - p)

    def probability(params: Any, pair: Any) -> Any:
        return torch.exp(-nn.functional.cross_entropy(*logits(params, pair)))

    return loss, margin, probability


def _loaders(data: Any) -> tuple[Any, Any]:
    sets = TensorDataset(data.x, data.y), TensorDataset(data.test_x, data.test_y)
    return DataLoader(sets[0], batch_size=100), DataLoader(sets[1], batch_size=100)


def _trak(nets: list[Any], data: Any) -> tuple[Any, Any, int]:
    from dattri.algorithm.trak import TRAKAttributor
    from dattri.task import AttributionTask

    _, margin, probability = _pieces(nets[0])
    task = AttributionTask(loss_func=margin, model=nets[0], checkpoints=[_state(net) for net in nets])
    attributor = TRAKAttributor(
        task,
        correct_probability_func=probability,
        projector_kwargs={"proj_dim": DIM, "device": "cpu", "proj_max_batch_size": 32},
    )
    train, test = _loaders(data)
    with torch.no_grad():
        scores = attributor.attribute(test, train)
    return scores.T.numpy(), lambda: attributor.self_attribute(train).detach().numpy(), DIM


def _influence(nets: list[Any], data: Any) -> tuple[Any, None, None]:
    from dattri.algorithm.influence_function import IFAttributorCG
    from dattri.task import AttributionTask

    loss, _, _ = _pieces(nets[0])
    total: Any = 0
    train, test = _loaders(data)
    whole = DataLoader(train.dataset, batch_size=len(data.y))
    for net in nets:
        task = AttributionTask(loss_func=loss, model=nets[0], checkpoints=_state(net))
        attributor = IFAttributorCG(task, max_iter=10, regularization=1e-2)
        attributor.cache(whole)
        total = total + attributor.attribute(train, test).detach()
    return total.T.numpy(), None, None


def _tracin(nets: list[Any], data: Any) -> tuple[Any, None, None]:
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    loss, _, _ = _pieces(nets[0])
    task = AttributionTask(loss_func=loss, model=nets[0], checkpoints=[_state(net) for net in nets])
    attributor = TracInAttributor(task, weight_list=torch.ones(len(nets)), normalized_grad=False)
    train, test = _loaders(data)
    return attributor.attribute(train, test).detach().T.numpy(), None, None


def _state(net: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}
