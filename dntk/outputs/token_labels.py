"""What labels of sequences have to be, said clearly where they are not."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Integer, Shaped

from dntk import arrays
from dntk._foreign import require_plain_array
from dntk.models.nests import is_array
from dntk.types import Array, Batch

LABELS = "labels"
"""The part of a batch that holds labels."""

IGNORED = -100
"""The label of positions where nothing is predicted, as in PyTorch and Hugging Face."""


@runtime_checkable
class Predicting(Protocol):
    """Which labels of a batch count, and whether every sequence needs one."""

    @property
    def mean(self) -> bool:
        """Whether values are divided by the number of labels."""

    def labels(self, batch: Batch) -> Any:
        """The labels of a batch, as they came."""

    def predicted(self, labels: Shaped[Array, "n t"]) -> Shaped[Array, "n s"]:
        """Those of labels, or of what goes with them, that logits are for."""


def checked_labels(batch: Batch, predicting: Predicting, name: str) -> Any:
    """The labels of a batch.

    Raises
    ------
    TypeError
        They are no integers.
    ValueError
        They have not two axes; one is negative and not −100, or at a position that the attention mask hides; a
        sequence has none where a mean is taken.
    """
    labels = predicting.labels(batch)
    called = f"{name}['{LABELS}']" if isinstance(batch, Mapping) else f"{name}.y"
    require_plain_array(called, labels)
    xp = arrays.namespace(labels)
    if not xp.isdtype(labels.dtype, "signed integer"):
        msg = f"`{called}` has dtype {labels.dtype}: expected signed integers, token ids and {IGNORED} for none."
        raise TypeError(msg)
    if labels.ndim != 2 or 0 in labels.shape or 0 in predicting.predicted(labels).shape:
        msg = f"`{called}` has shape {tuple(labels.shape)}: expected (n, positions), two positions at least if causal."
        raise ValueError(msg)
    counted: Any = labels != IGNORED
    if bool(xp.any(counted & (labels < 0))):
        msg = f"`{called}` holds {int(xp.min(labels))}: expected token ids, and {IGNORED} where none is predicted."
        raise ValueError(msg)
    _require_seen(batch, counted, name, called)
    if predicting.mean:
        _require_some(predicting.predicted(counted), called)
    return labels


def require_vocabulary(labels: Integer[Array, "n t"], vocabulary: int, name: str) -> None:
    """Raise ``ValueError`` where a label is no token of the vocabulary, whose size 0 is an unknown one."""
    largest = int(arrays.namespace(labels).max(labels))
    if vocabulary and largest >= vocabulary:
        msg = f"the labels of `{name}` hold {largest}, but the network's logits are for tokens 0 to {vocabulary - 1}."
        raise ValueError(msg)


def _require_seen(batch: Batch, counted: Array, name: str, called: str) -> None:
    """Raise where labels count positions that the mask of the same sequence hides: padding would be predicted."""
    if not isinstance(batch, Mapping):
        return
    part = "decoder_attention_mask" if "decoder_input_ids" in batch else "attention_mask"
    mask: Any = batch.get(part)
    if not is_array(mask) or tuple(mask.shape) != tuple(counted.shape):
        return
    xp = arrays.namespace(counted)
    hidden = int(xp.sum(xp.astype(counted & (mask == 0), xp.int32)))
    if hidden:
        msg = (
            f"`{called}` has tokens at {hidden} positions where `{name}['{part}']` is 0, so that padding would be "
            f"predicted: set labels to {IGNORED} where the mask is 0."
        )
        raise ValueError(msg)


def _require_some(counted: Array, called: str) -> None:
    xp = arrays.namespace(counted)
    none = ~xp.any(counted, axis=1)
    if bool(xp.any(none)):
        first = int(xp.argmax(xp.astype(none, xp.int32)))
        msg = (
            f"sequence {first} has no label in `{called}` that is predicted, so that it has no mean loss: leave it out "
            "or take dntk.outputs.sequence_log_likelihood, which is 0 there."
        )
        raise ValueError(msg)
