"""Operations of what PyTorch runs, from the shapes of its products, as ``torch.utils.flop_counter`` counts them."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode

from dntk.ledger import count, recording

T = TypeVar("T")


def operations_of(run: Callable[[], object]) -> int:
    """Operations that ``run`` takes; they are put into the ledger, too."""
    with _Counting() as counting:
        run()
    count(flops=counting.operations)
    return counting.operations


@contextlib.contextmanager
def counted() -> Iterator[None]:
    """Everything inside goes into the ledger, one operation of PyTorch after the other."""
    if not recording():
        yield
        return
    with _Counting() as counting:
        yield
    count(flops=counting.operations)


def probed(find: Callable[[], T]) -> Callable[[], T]:
    """``find``, with its operations in the ledger."""

    def finding() -> T:
        with counted():
            return find()

    return finding


class _Counting(TorchDispatchMode):  # type: ignore[misc]
    """Adds up the operations of products, convolutions and attention.

    Not ``FlopCounterMode``: that hooks into every module of the process, and does not know attention on the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        output = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.operations += int(formula(*args, **(kwargs or {}), out_val=output))
        return output


def _convolution_backward(grad: Any, x: Any, weight: Any, *rest: Any, out_val: Any = None, **_: Any) -> int:
    """As much as forward for the gradient in the input, and again for that in the weight.

    PyTorch's own formula counts the latter once too often for every group.
    """
    del out_val
    transposed, wanted = rest[4], rest[7]
    moved = x if transposed else grad
    return 2 * math.prod(moved.shape) * math.prod(weight.shape[1:]) * (int(wanted[0]) + int(wanted[1]))


def _attention(query: Any, key: Any, value: Any, *_args: Any, out_val: Any = None, **_: Any) -> int:
    """Two products of every query with every key."""
    del out_val
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(
    _grad: Any, query: Any, key: Any, value: Any, *_args: Any, out_val: Any = None, **_: Any
) -> int:
    """Five products of that size: the weights are made again."""
    del out_val
    return _attention(query, key, value) * 5 // 2


_ATEN = torch.ops.aten
_FORMULAS: Mapping[Any, Callable[..., Any]] = {
    **flop_counter.flop_registry,
    _ATEN.convolution_backward: _convolution_backward,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
