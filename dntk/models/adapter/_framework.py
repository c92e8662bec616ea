"""What differs from framework to framework where every adapter checks the same."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework's words, classes and remedies, for the messages of :mod:`dntk.models.adapter`.

    ``array`` is the class of its arrays, ``network`` what messages call a network, as in "function". ``errors`` are
    what a network may raise by its own fault; ``not_its_fault``, which come first, are passed on. The rest are
    remedies, which end a message that begins with the fault: "the network returns a tuple, not a tensor: ...".
    """

    array: Any
    array_name: str
    network: str = "network"
    errors: tuple[type[Exception], ...] = (Exception,)
    not_its_fault: tuple[type[Exception], ...] = (MemoryError,)
    convert: str = "it with {name}.astype({dtype})"
    one_device: str = ""
    one_dtype: str
    fixed: str
    no_mixing: str
    outputs_alone: str
    two_axes: str
    floating: str = "return logits, not labels"
