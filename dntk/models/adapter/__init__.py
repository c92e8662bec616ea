"""What the adapters of all frameworks share: checks of networks, inputs and outputs, memos, vectors, blocks."""

from dntk.models.adapter._blocks import in_order, stored_block
from dntk.models.adapter._calling import Forward, call, outputs_alone, refuse_forward
from dntk.models.adapter._evidence import showing
from dntk.models.adapter._following import After, Followable, Following, followed
from dntk.models.adapter._framework import Framework
from dntk.models.adapter._memo import PROBES, Looks, Memo, OutputCount
from dntk.models.adapter._network import close, evaluate, examine, require_outputs, require_own_rows
from dntk.models.adapter._operations import Passes
from dntk.models.adapter._requirements import require_array, require_input, require_parameters, require_shape
from dntk.models.adapter._vectors import offsets_of, size_of, split, total_size

__all__ = [
    "PROBES",
    "After",
    "Followable",
    "Following",
    "Forward",
    "Framework",
    "Looks",
    "Memo",
    "OutputCount",
    "Passes",
    "call",
    "close",
    "evaluate",
    "examine",
    "followed",
    "in_order",
    "offsets_of",
    "outputs_alone",
    "refuse_forward",
    "require_array",
    "require_input",
    "require_outputs",
    "require_own_rows",
    "require_parameters",
    "require_shape",
    "showing",
    "size_of",
    "split",
    "stored_block",
    "total_size",
]
