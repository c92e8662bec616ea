"""What a run of a private copy does: which parameters of the user's it still reaches, whether data move rows."""

import dataclasses
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dntk.models import batches
from dntk.models.nests import leaves, mapped
from dntk.types import Batch
from dntk_torch._reading import READS, Read
from dntk_torch._reversing import keeps_order
from dntk_torch.called import cloned, device_of
from dntk_torch.execution import detached, prepared, run_copy, without_graph
from dntk_torch.lineage import tensors
from dntk_torch.undisturbed import Mode

_MOVING = frozenset(
    {
        "index", "index_put", "index_put_", "index_select", "index_add", "index_add_", "index_copy", "index_copy_",
        "gather", "scatter", "scatter_", "scatter_add", "scatter_add_", "scatter_reduce", "masked_select",
        "masked_scatter", "nonzero", "sort", "argsort", "topk", "take", "argmax", "argmin", "_unique2",
        "unique_consecutive", "unique_dim", "searchsorted", "bucketize", "_pack_padded_sequence",
        "repeat_interleave", "_nested_tensor_from_mask", "_nested_tensor_from_tensor_list",
        "_padded_dense_to_jagged_forward", "_jagged_to_padded_dense_forward", "kthvalue", "_unsafe_index",
        "_unsafe_index_put", "_grouped_mm", "_index_put_impl_", "median", "mode",
    }
)  # fmt: skip
"""Operations that may move rows, or choose a way through the network, by what is in their arguments."""

_WITHIN = frozenset({"argmax", "argmin"})
"""Those that move nothing within one input: what is looked up at the places that they find is seen by itself."""

_LEAVING = frozenset({torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.cpu})
"""Ways by which numbers leave the operations that a mode sees."""

_PRODUCTS = frozenset({"mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "addbmm"})
"""Operations that move rows where an argument is made of comparisons, as a matrix of a permutation is."""

_KEEPING = frozenset(
    {
        "_to_copy", "mul", "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "unsqueeze",
        "squeeze", "slice", "select", "clone", "alias", "detach", "unbind", "stack", "cat",
    }
)  # fmt: skip
"""Operations by which comparisons become such an argument, if all that is made of the inputs in them is comparisons."""


_ORDERLY = frozenset(
    {
        "_to_copy", "add", "view", "_unsafe_view", "unsqueeze", "squeeze", "expand", "clone", "alias", "detach",
    }
)  # fmt: skip
"""Operations on nothing but 0, 1, 2, ... and numbers that leave them in order."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """What becomes of the rows of inputs, as a few have shown.

    ``moved``: data decide which row goes where. ``read``: the numbers that Python read, some of them of the inputs;
    where it reads others, the network may be another one, of which nothing is known. ``None`` where it reads nothing.
    """

    moved: bool
    read: Read | None = None

    def may_move(self, read: Read | None) -> bool:
        """Whether rows may be moved on a run on which Python reads these numbers."""
        return self.moved or (self.read is not None and self.read != read)


def rows_of(module: torch.nn.Module, x: Batch) -> Rows:
    """Whether data decide which row goes where, for inputs like a few, and what that depends on.

    An operation counts where its arguments come from the inputs, as those of look-ups in tables at fixed places do not;
    a look-up in what comes from the inputs is none at 0, 1, 2, ... alone, by which masks are spread, or at one place
    of every input, by which the last token is found. So does a product with what was compared, and numbers that leave
    for Python by other ways than one by one. Whatever the operations: rows that are not reversed where the inputs are.
    True, too, where the network does not run when it is watched.
    """
    try:
        forth = _traced(module, cloned(x))
        if forth.moved:
            return Rows(True)
        back = _traced(module, mapped(_flipped, x))
        moved = back.moved or back.read != forth.read or not keeps_order(forth.made, back.made, batches.count(x))
        return Rows(moved, forth.read if forth.reads_inputs else None)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        return Rows(True)  # any code of the user's may refuse modes in its own way


def _flipped(part: Any) -> Any:
    return part.flip(0)


def _traced(module: torch.nn.Module, x: Batch) -> "_Trace":
    copy, trace = prepared(module, detached(module)), _Trace(x)
    with without_graph(device_of(x)), _Leaving(trace), trace:
        copy.module(trace.x)
    return trace


class _Trace(TorchDispatchMode):  # type: ignore[misc]
    """Follows what is made of the inputs."""

    def __init__(self, x: Batch) -> None:
        super().__init__()
        self.x, self.moved, self.reads_inputs, self.within_read = x, False, False, False
        self._n = batches.count(x)
        self.read: Read = ()
        self._derived = {id(part): part for _, part in leaves(x)}  # alive, so that no other takes the identity
        self._compared: set[int] = set()
        # 0, 1, 2, ... by how they were made, whatever their number, and how often they had been written to then.
        self._in_order: dict[int, tuple[torch.Tensor, int]] = {}

    @property
    def made(self) -> list[torch.Tensor]:
        """All that came of the inputs, as it was left, in order."""
        return list(self._derived.values())

    def of_inputs(self, values: Any) -> bool:
        """Whether any tensor in nested arguments comes from the inputs."""
        return any(id(value) in self._derived for value in tensors(values))

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and mark what it makes."""
        output = func(*args, **(kwargs or {}))
        given, made = list(tensors((args, kwargs or {}))), list(tensors(output))
        derived, name = [value for value in given if id(value) in self._derived], func._schema.name.rpartition("::")[2]
        if self._orderly(name, given, args):
            self._in_order.update({id(value): (value, value._version) for value in made})
        if derived:
            compared = [id(value) in self._compared for value in derived]
            self.moved |= self._moves(name, args) or (name in _PRODUCTS and any(compared)) or self._leaves(output)
            self._derived.update({id(value): value for value in made})
            kept = name in _KEEPING and all(compared)
            self._compared.update(id(value) for value in made if kept or value.dtype == torch.bool)
        return output

    def _moves(self, name: str, args: Any) -> bool:
        """Whether an operation on what comes from the inputs may move rows."""
        if name == "embedding":
            return id(args[0]) in self._derived
        if name == "index":
            return not (self._all_in_order(args[1]) or self._of_every_input(args[0], args[1]))
        if name in _WITHIN and len(args) > 1 and args[1] is not None:
            return not (self._by_input(args[0]) and args[1] % args[0].ndim)
        return name in _MOVING

    def _by_input(self, value: torch.Tensor) -> bool:
        """Whether the first axis, and no other, can be that of the inputs."""
        return value.ndim > 1 and value.shape[0] == self._n and self._n not in value.shape[1:]

    def _of_every_input(self, value: torch.Tensor, places: Any) -> bool:
        """Whether a look-up takes something of input 0, of input 1, ..., wherever in each."""
        return self._by_input(value) and places[0] is not None and self._all_in_order(places[:1])

    def _orderly(self, name: str, given: list[torch.Tensor], args: Any) -> bool:
        """Whether an operation makes 0, 1, 2, ... or leaves them in order."""
        if name == "arange":
            return len(args) < 3 or args[2] == 1
        return name in _ORDERLY and len(given) == 1 and self._all_in_order(given)

    def _all_in_order(self, places: Any) -> bool:
        """Whether a look-up at these places is a cut, as one at 0, 1, 2, ... is."""
        known = [self._in_order.get(id(value)) for value in tensors(places)]
        return all(found is not None and found[0]._version == found[1] for found in known)

    def _leaves(self, output: Any) -> bool:
        """Whether a number is given to Python that no function of ``READS`` asked for; one that was is noted."""
        number = isinstance(output, bool | int | float | complex)
        self.reads_inputs |= number and self.within_read
        return number and not self.within_read


class _Leaving(Mode):
    """Notes numbers that leave for Python."""

    def __init__(self, trace: _Trace) -> None:
        self._trace = trace

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch."""
        if func in _LEAVING and self._trace.of_inputs(args):
            self._trace.moved = True
        if func not in READS:
            return func(*args, **(kwargs or {}))
        self._trace.within_read = True
        try:
            output = func(*args, **(kwargs or {}))
        finally:
            self._trace.within_read = False
        self._trace.read += ((type(output), output),)
        return output


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Notes which of some tensors go into operations."""

    def __init__(self, tensors: dict[int, str]) -> None:
        super().__init__()
        self._tensors = tensors
        self.met: set[str] = set()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        for value in args:
            for item in value if isinstance(value, list | tuple) else (value,):
                if id(item) in self._tensors:
                    self.met.add(self._tensors[id(item)])
        return func(*args, **(kwargs or {}))


def require_own_parameters(module: torch.nn.Module, names: tuple[str, ...], x: Batch) -> None:
    """Raise ``ValueError`` where a copy of the module computes with selected parameters of the module itself.

    Such parameters are reached through a global variable or an object that is no module, which no copy follows: their
    gradients would be missing.
    """
    every = dict(module.named_parameters())
    watch = _Watch({id(every[name]): name for name in names})
    copy = prepared(module, detached(module))
    with without_graph(device_of(x)), watch:
        run_copy(copy, x)
    if watch.met:
        name = min(watch.met)
        msg = (
            f"the network's forward reaches its parameter {name!r} other than through attributes of modules, such as "
            "by a global variable or an object that is no torch.nn.Module: hold the layer as an attribute of the "
            "module that calls it, or leave it out with parameters=..."
        )
        raise ValueError(msg)
