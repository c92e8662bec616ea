"""Whether what a network makes of a point depends on how much it is padded for the others of its batch."""

from typing import Any

from dntk import arrays
from dntk.models import batches
from dntk.models.nests import leaves
from dntk.models.sources import Points
from dntk.types import Batch, Inputs


def require_padding_unseen(model: Any, inputs: Inputs, few: Batch, name: str) -> None:
    """Raise ``ValueError`` where outputs of the first points, ``few`` read together, are others when read alone.

    Only where ``collate`` gives a point another shape then. Cost: the points read again, and two forward passes.
    """
    if not any(isinstance(part, Points) and part.collate is not None for _, part in leaves(inputs)):
        return
    for i in range(batches.count(few)):
        alone = batches.span(inputs, i, i + 1)
        if batches.signature(alone) == batches.signature(few):
            continue
        if not _same_outputs(model, alone, batches.span(few, i, i + 1)):
            shapes = f"{batches.described(alone)} than for {batches.described(batches.span(few, i, i + 1))}"
            msg = (
                f"the network's outputs for point {i} of `{name}` depend on how much `collate` pads it: they are "
                f"others for {shapes}. Let "
                "`collate` return a mask of what is padding that the network takes, such as a tokenizer's "
                "attention_mask, or pad all points to one length."
            )
            raise ValueError(msg)
        return


def _same_outputs(model: Any, alone: Batch, padded: Batch) -> bool:
    """Whether outputs agree to half the digits; so too where there are none, or others, to compare."""
    try:
        one, other = model(alone), model(padded)
    except (ValueError, TypeError):
        return True  # some networks take no points so short
    if one.shape != other.shape:
        return True
    xp = arrays.namespace(one)
    allowance = 3 * arrays.epsilon(one) ** 0.5 * float(xp.max(xp.abs(other)))
    return bool(xp.max(xp.abs(one - other)) <= allowance)
