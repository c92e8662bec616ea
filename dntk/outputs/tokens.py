"""Log p of every label of a sequence, written so that a framework's own derivatives of it are accurate.

With m the largest logit of the other tokens, r = log Σ_{c≠y} exp(f_c − m) + m − f_y is the log odds against the
label and −log p_y = log(1 + exp r). Its gradient, σ(r) times the softmax of the others, and −σ(r) in f_y, is formed
without the difference 1 − p_y. Only functions that every framework differentiates are used.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Integer, Shaped

from dntk import arrays
from dntk.outputs.token_labels import IGNORED, LABELS
from dntk.types import Array, Batch, Namespace


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tokens:
    """What is common: which part of a batch is what, and log p of every label.

    ``vocabularies`` are the sizes that answers had: shapes are known also where a framework traces values.
    """

    causal: bool
    vocabularies: set[int] = dataclasses.field(default_factory=set, compare=False, repr=False)

    @property
    def vocabulary(self) -> int:
        """The least number of tokens that logits had, 0 before the network was run."""
        return min(self.vocabularies, default=0)

    def inputs(self, batch: Batch) -> Batch:
        """The batch without its labels."""
        if isinstance(batch, Mapping):
            return {key: part for key, part in batch.items() if key != LABELS}
        return batch[0]

    def labels(self, batch: Batch) -> Any:
        """The labels of a batch, as they came."""
        return batch[LABELS] if isinstance(batch, Mapping) else batch[1]

    def predicted(self, labels: Shaped[Array, "n t"]) -> Shaped[Array, "n s"]:
        """Those of labels, or of what goes with them, that logits are for."""
        return labels[:, 1:] if self.causal else labels

    def log_likelihoods(self, logits: Any, labels: Integer[Array, "n t"], xp: Namespace) -> Any:
        """Log p (n, s) of the labels, 0 where there is none."""
        if logits.ndim != 3 or tuple(logits.shape[:2]) != tuple(labels.shape) or logits.shape[2] < 2:
            msg = (
                f"the logits have shape {tuple(logits.shape)} and the labels {tuple(labels.shape)}: expected logits "
                "(n, positions, vocabulary) and labels (n, positions)."
            )
            raise ValueError(msg)
        self.vocabularies.add(int(logits.shape[2]))
        wanted, own = self.predicted(labels), arrays.namespace(labels)
        tokens = own.arange(logits.shape[2], device=arrays.device_of(labels), dtype=wanted.dtype)
        mine = wanted[:, :, None] == tokens[None, None, :]
        values = logits[:, :-1, :] if self.causal else logits
        others = xp.where(mine, -xp.inf, values)
        top = xp.max(others, axis=2, keepdims=True)
        against = xp.log(xp.sum(xp.exp(others - top), axis=2)) + top[:, :, 0]
        odds = against - xp.sum(xp.where(mine, values, 0.0), axis=2)
        return xp.where(wanted == IGNORED, 0.0, -xp.logaddexp(odds, xp.zeros_like(odds)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfSequences(_Tokens):
    """``sign`` times the sum of log p over a sequence's labels, or their mean."""

    mean: bool
    sign: int

    def outputs(self, answer: Any, batch: Batch, xp: Namespace) -> Any:
        """One value (n, 1) per sequence."""
        labels = self.labels(batch)
        total = xp.sum(self.log_likelihoods(answer, labels, xp), axis=1) * self.sign
        if self.mean:
            own = arrays.namespace(labels)
            total = total / own.sum(own.astype(self.predicted(labels) != IGNORED, total.dtype), axis=1)
        return total[:, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfEachToken(_Tokens):
    """log p of every label."""

    mean: bool = False

    def outputs(self, answer: Any, batch: Batch, xp: Namespace) -> Any:
        """One value per label (n, s)."""
        return self.log_likelihoods(answer, self.labels(batch), xp)
