"""Losses and log-likelihoods of language models: of whole sequences, and of every token."""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from jaxtyping import Float

from dntk._checks import kind_of
from dntk.gradient_blocks import GradientBlock
from dntk.models.adapter import Followable
from dntk.models.base import Cotangents, Model, require_model
from dntk.models.batching import SizedModel, measured_bytes
from dntk.models.state import state_of, structure_of
from dntk.outputs.inputs import Labelled
from dntk.outputs.token_labels import LABELS, checked_labels, require_vocabulary
from dntk.outputs.tokens import OfEachToken, OfSequences
from dntk.types import Array, Batch, Inputs, Namespace

_COPIES = 6
"""Arrays as large as the logits that are alive while the loss is differentiated."""


def sequence_loss(model: Model, *, causal: bool = True) -> "SequenceModel":
    """Loss of every sequence, as a model of one output: the mean of −log p of its labels.

    Inputs carry labels: a mapping with the part ``labels`` beside those that the network is called with (for example
    ``input_ids`` and ``attention_mask``), or :func:`dntk.outputs.labelled` of anything and labels. Labels are token
    ids (n, positions), and −100 where none is predicted: at padding, in a prompt. They are not shown to the network.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`, of a network of PyTorch, JAX or ``autograd.numpy`` whose outputs are logits
        (n, positions, vocabulary), or an answer with such ``logits``.
    causal
        Whether the logits at a position are for the label at the next one, as of decoders: GPT-2, Llama. ``False``
        for the label at the same position: masked language models, and encoder–decoders (T5), whose batches hold
        ``decoder_input_ids``.

    Raises
    ------
    TypeError
        ``model`` is no model, or of a kind that has no sequences. Where it is used: labels that are no integers.
    ValueError
        Where it is used: no labels, or of another shape than the logits; labels that are no tokens, or at positions
        that ``attention_mask`` hides; a sequence without a label.

    Notes
    -----
    The gradient of the mean over a batch is that of training, where all sequences have equally many labels. Padding
    changes nothing where the network does not see it. The loss keeps its relative accuracy where p → 1. Cost: the
    loss is part of the network's own passes; memory is some six times that of a batch's logits.

    Examples
    --------
    >>> import torch
    >>> class Bigrams(torch.nn.Embedding):
    ...     def forward(self, input_ids):
    ...         return super().forward(input_ids)  # logits of the next token
    >>> model = dntk.outputs.sequence_loss(dntk.as_model(Bigrams(5, 5).eval()))
    >>> ids = torch.tensor([[0, 1, 2, 3], [3, 1, 4, 4]])
    >>> batch = {"input_ids": ids, "labels": ids}
    >>> tuple(model(batch).shape), tuple(dntk.ntk(model, batch).shape)
    ((2, 1), (2, 2))
    """
    return _sequence_model(model, OfSequences(causal=causal, mean=True, sign=-1))


def sequence_log_likelihood(model: Model, *, causal: bool = True) -> "SequenceModel":
    """Log-likelihood of every sequence, as a model of one output: the sum of log p of its labels.

    Arguments, labels and errors are those of :func:`sequence_loss`. A sequence without a label has 0.

    Examples
    --------
    >>> import torch
    >>> zeros = torch.zeros(5, 5)  # logits of the next token: all are as likely
    >>> net = torch.nn.Embedding.from_pretrained(zeros, freeze=False)
    >>> model = dntk.outputs.sequence_log_likelihood(dntk.as_model(net.eval()))
    >>> ids = torch.tensor([[0, 1, 2], [3, 1, 4]])
    >>> values = model(dntk.outputs.labelled(ids, ids))  # two tokens of one fifth each
    >>> np.allclose(values.detach(), -2 * np.log(5))
    True
    """
    return _sequence_model(model, OfSequences(causal=causal, mean=False, sign=1))


def token_log_likelihoods(model: Model, *, causal: bool = True) -> "SequenceModel":
    """Log p of every label, one output per position: 0, with no gradient, where the label is −100.

    Arguments, labels and errors are those of :func:`sequence_loss`. Causal models have one output less than there
    are positions, as the first label is predicted by nothing. The kernel of token s of one sequence and token t of
    another is entry (i, j, s, t) of ``dntk.ntk(..., outputs="full")``. ``"mean"`` and ``"sum"`` divide by the number
    of positions, with those that padding adds: all batches have to be padded to one length.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Embedding(5, 5).eval()  # logits of the next token
    >>> model = dntk.outputs.token_log_likelihoods(dntk.as_model(net))
    >>> ids = torch.tensor([[0, 1, 2], [3, 1, 4]])
    >>> tuple(model(dntk.outputs.labelled(ids, ids)).shape)  # nothing predicts the first
    (2, 2)
    """
    return _sequence_model(model, OfEachToken(causal=causal))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SequenceModel(Model):
    """A language model followed by a function of its labels' probabilities; parameters, device and dtype are its own.

    Made by :func:`sequence_loss` and its kind. Inputs are a mapping with ``labels``, or labelled inputs.
    """

    base: Model
    after: OfSequences | OfEachToken

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return self.base.n_parameters

    @property
    def n_outputs(self) -> int:
        """One, or one per position."""
        return 1 if isinstance(self.after, OfSequences) else self.base.n_outputs

    @property
    def namespace(self) -> Namespace:
        """The network's array namespace."""
        return self.base.namespace

    @property
    def device(self) -> Any:
        """Device of the parameters."""
        return self.base.device

    @property
    def dtype(self) -> Any:
        """Floating-point type of the parameters."""
        return self.base.dtype

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The network's selected parameters."""
        return self.base.parameters

    @property
    def state(self) -> Mapping[str, Array]:
        """All arrays of the network."""
        return state_of(self.base)

    @property
    def structure(self) -> Hashable:
        """That of the network, and the function."""
        return structure_of(self.base), self.after

    def subset(self, pattern: str) -> "SequenceModel":
        """The same function, differentiated only in parameters whose whole name matches ``pattern``."""
        return dataclasses.replace(self, base=self.base.subset(pattern))

    def check_inputs(self, x: Batch, name: str = "x") -> None:
        """Raise a clear error unless the network takes the inputs and they have the labels that are needed."""
        batch = _as_one_batch(x, name)
        checked_labels(batch, self.after, name)
        try:
            self.base.check_inputs(batch, name)
        finally:  # what such a label leads to is no reason
            require_vocabulary(self.after.labels(batch), self.after.vocabulary, name)

    def __call__(self, x: Batch) -> Float[Array, "n c"]:
        """Losses or log-likelihoods."""
        return self.base(self._checked(x))

    def gradient_blocks(self, x: Batch, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of ⟨cotangents, outputs⟩, in the network's own forms."""
        batch = self._checked(x)
        if isinstance(self.after, OfEachToken):
            _require_positions(self.after.predicted(self.after.labels(batch)).shape[1], cotangents.shape[-1])
        yield from self.base.gradient_blocks(batch, cotangents)

    def block_bytes(self, x: Inputs, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
        """Bytes per input of gradient blocks and of the logits' copies for one functional, and for each further one."""
        batch, base = self._checked(x), self.base
        sizes = base.block_bytes if isinstance(base, SizedModel) else lambda *data: measured_bytes(base, *data)
        first, further = sizes(batch, cotangents)
        return first + _COPIES * 4 * self.after.labels(batch).shape[1] * self.after.vocabulary, further

    def jvp(self, x: Batch, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives along q parameter vectors."""
        return self.base.jvp(self._checked(x), tangents)

    def vjp(self, x: Batch, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], outputs_i⟩ in the parameters."""
        return self.base.vjp(self._checked(x), cotangents)

    def _checked(self, x: Batch) -> Batch:
        """The batch with labels that mean something; the network's own checks follow in its methods."""
        if not self.after.vocabulary:
            self.check_inputs(x)
        batch = _as_one_batch(x, "x")
        require_vocabulary(checked_labels(batch, self.after, "x"), self.after.vocabulary, "x")
        return batch


def _sequence_model(model: Any, after: OfSequences | OfEachToken) -> SequenceModel:
    if not isinstance(require_model(model), Followable):
        msg = (
            f"`model` is {kind_of(model)}, which has no sequences: pass dntk.as_model of a language model of PyTorch, "
            "JAX or autograd.numpy, with logits (n, positions, vocabulary)."
        )
        raise TypeError(msg)
    return SequenceModel(base=model.followed_by(after), after=after)


def _as_one_batch(x: Any, name: str) -> Batch:
    """A mapping with labels, or (inputs, labels)."""
    if isinstance(x, Labelled):
        return x.x, x.y
    if isinstance(x, Mapping) and LABELS in x:
        return dict(x)
    msg = (
        f"`{name}` has no labels: pass a mapping with the part '{LABELS}' beside the network's inputs, token ids and "
        f"-100 where none is predicted (for causal language models the input ids, -100 at padding), or "
        f"dntk.outputs.labelled({name}, labels)."
    )
    raise ValueError(msg)


def _require_positions(here: int, elsewhere: int) -> None:
    """Raise ``ValueError`` where a batch has outputs for other positions than those before it."""
    if here != elsewhere:
        msg = (
            f"a batch has {here} predicted positions where another has {elsewhere}, and each is an output: pad all "
            'sequences to one length, such as with padding="max_length" of a tokenizer, or take '
            "dntk.outputs.sequence_log_likelihood."
        )
        raise ValueError(msg)
