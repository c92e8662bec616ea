"""The exact kernel as a linear operator: products without the kernel."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk._progress import Task, task
from dntk.arrays import itemsize
from dntk.gradient_blocks._squared_norms import squared_norms
from dntk.kernels._ntk import ntk
from dntk.ledger import count
from dntk.models import batches
from dntk.models._finite_results import require_finite_result, require_no_underflow
from dntk.models._halved import in_batches
from dntk.models.base import Model, check_placement, checked_inputs, outputs_of
from dntk.models.batching import BUDGET, choose_batch_size, default_bytes
from dntk.outputs import KernelOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.types import Array

_Pass = tuple[int, int]
"""A functional and a column of the vectors: what one VJP and one JVP multiply."""


@dataclasses.dataclass(frozen=True, eq=False)
class NTKOperator:
    """Exact neural tangent kernel of n inputs as an operator, K v = J (Jᵀ v): one VJP, then one JVP.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`.
    x
        Inputs; checked here, once, with the network's outputs at them.
    outputs
        Which kernel, as for :func:`dntk.ntk`; shapes and cost of a product with one vector:

        ``"sum"`` or an integer c
            (n, n); one VJP and one JVP.
        ``"mean"``
            (n, n); C VJPs and C JVPs.
        ``"each"``
            (C, n, n), a kernel per output; vectors are (C, n), or (C, n, r) for blocks; C VJPs and C JVPs.
        ``"full"``
            (n·C, n·C), all pairs of outputs: one VJP and one JVP. Entry i·C + c of a vector belongs to input i and
            output c, so that the entry (i·C + c, j·C + d) is ``dntk.ntk(model, x, outputs="full")[i, j, c, d]``,
            and ``op @ y.reshape(-1)`` multiplies an array y of shape (n, C).
    batch_size
        Inputs differentiated at once; default: as many as keep gradient blocks within a memory budget.
    memory_limit
        Bytes that gradient blocks, and parameter vectors of several columns, may take, copies included; default: what
        :func:`dntk.models.batching.default_bytes` says.

    Raises
    ------
    TypeError, ValueError
        As :func:`dntk.ntk`; products raise them for vectors of another namespace, device, dtype or length, or with
        entries that are not finite.

    Notes
    -----
    A product costs a few passes through the network per input and stores O(P + n + batch) numbers, where the kernel
    costs O(n²) inner products and n² numbers: it pays for products with few vectors, as in an iterative solver.
    With r vectors, parameter vectors are kept for as many as fit a memory budget, one at least. The ledger counts a
    Jacobian row per input and VJP, and the passes.

    With NumPy, SciPy takes the operator as it is: ``scipy.sparse.linalg.cg(op, b)``, ``eigsh(op)``,
    ``aslinearoperator(op)``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None))
    >>> x, v = rng.normal(size=(40, 3)), rng.normal(size=40)
    >>> op = dntk.NTKOperator(model, x)
    >>> op.shape, op.diagonal().shape
    ((40, 40), (40,))
    >>> np.allclose(op @ v, dntk.ntk(model, x) @ v)
    True
    """

    model: Model
    x: Array
    outputs: KernelOutputs = "mean"
    batch_size: int | None = dataclasses.field(default=None, kw_only=True)
    memory_limit: int | None = dataclasses.field(default=None, kw_only=True)
    _functionals: Float[Array, "q c"] = dataclasses.field(init=False, repr=False)
    _sizes: tuple[int, int] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        model, x = self.model, self.x
        x = checked_inputs(model, x)
        object.__setattr__(self, "x", x)
        outputs_of(model, batches.first(x))  # some networks tell their number of outputs only by running
        place = {"xp": model.namespace, "dtype": self.dtype, "device": model.device}
        functionals = cotangents_for(self.outputs, model.n_outputs, **place)
        # A product sends one functional through the network at a time, the diagonal all of them.
        one = functionals[:1, :]
        limit = self.memory_limit
        if limit is not None:
            limit = positive_integer("memory_limit", limit, remedy="a number of bytes, or None")
        sizes = tuple(choose_batch_size(model, x, u, self.batch_size, memory_limit=limit) for u in (one, functionals))
        for start, stop in arrays.spans(batches.count(x), sizes[0]):
            outputs_of(model, batches.span(x, start, stop))
        object.__setattr__(self, "_functionals", functionals)
        object.__setattr__(self, "_sizes", sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, n); (C, n, n) for ``"each"``; (n·C, n·C) for ``"full"``."""
        n = batches.count(self.x)
        if self.outputs == "each":
            return self.model.n_outputs, n, n
        side = n * self.model.n_outputs if self.outputs == "full" else n
        return side, side

    @property
    def ndim(self) -> int:
        """Number of axes, 3 for ``"each"`` and 2 otherwise."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Floating-point type of the kernel: the model's, or float32 for a 16-bit one."""
        return arrays.kernel_dtype(self.model.namespace, self.model.dtype)

    @property
    def device(self) -> Any:
        """Device of the kernel: the model's."""
        return self.model.device

    def __matmul__(self, v: Array) -> Float[Array, "*v"]:
        """Product with a vector (n,), or with r of them, (n, r); (C, n) or (C, n, r) for ``"each"``."""
        self._check_vectors(v)
        xp = self.model.namespace
        leading = len(self.shape) - 2
        wide = v[..., None] if v.ndim == leading + 1 else v
        stack = wide if leading else wide[None, ...]
        with arrays.checked_afterwards():
            products = xp.permute_dims(self._products(stack), (0, 2, 1))
        self._require_finite(products)
        largest = arrays.largest_magnitude(v)
        if largest:
            self._require_no_underflow(products / largest, with_itself=False)
        if self.outputs == "mean":
            products = xp.mean(products, axis=0, keepdims=True)
        return xp.reshape(products, v.shape)

    def matvec(self, v: Array) -> Array:
        """``op @ v`` for vectors of any floating-point type, computed in the operator's; SciPy calls it."""
        xp = self.model.namespace
        if arrays.namespace(v) is xp and arrays.is_floating(v):
            v = xp.astype(v, self.dtype, copy=False)
        return self @ v

    def rmatvec(self, v: Array) -> Array:
        """As :meth:`matvec`: the kernel is symmetric."""
        return self.matvec(v)

    def matmat(self, v: Array) -> Array:
        """As :meth:`matvec`, for a block of vectors."""
        return self.matvec(v)

    def rmatmat(self, v: Array) -> Array:
        """As :meth:`matmat`: the kernel is symmetric."""
        return self.matvec(v)

    def diagonal(self) -> Float[Array, "*diagonal"]:
        """Exact diagonal, squared norms of gradients: (n,), (C, n) for ``"each"``, (n·C,) for ``"full"``.

        Cost: one forward and q backward passes to outputs of layers, q = 1 for ``"sum"`` and an integer, C otherwise;
        neither the kernel nor n × P exists.
        """
        xp, n = self.model.namespace, batches.count(self.x)
        with task("diagonal", total=n, unit="points") as bar, arrays.checked_afterwards():
            norms = xp.concat(in_batches(n, self._sizes[1], self._norms, bar), axis=1)
        self._require_finite(norms)
        self._require_no_underflow(norms, with_itself=True)
        if self.outputs == "mean":
            return xp.mean(norms, axis=0)
        if self.outputs == "full":
            return xp.reshape(norms.T, (-1,))
        return norms if self.outputs == "each" else norms[0, :]

    def to_dense(self) -> Float[Array, "*kernel"]:
        """The kernel itself, :func:`dntk.ntk` in the shape of the operator."""
        kernel = ntk(
            self.model, self.x, outputs=self.outputs, batch_size=self.batch_size, memory_limit=self.memory_limit
        )
        if self.outputs != "full":
            return kernel
        xp = self.model.namespace
        return xp.reshape(xp.permute_dims(kernel, (0, 2, 1, 3)), self.shape)

    def _require_finite(self, result: Array) -> None:
        """Raise ``ValueError`` where gradients are not finite, or their products overflow."""
        require_finite_result(result, self.model, {"x": self.x}, self._functionals, self._sizes[1])

    def _require_no_underflow(self, result: Array, *, with_itself: bool) -> None:
        """Raise ``ValueError`` where the products of gradients underflow."""
        size = self._sizes[1]
        require_no_underflow(result, self.model, {"x": self.x}, self._functionals, size, with_itself=with_itself)

    def _check_vectors(self, v: Array) -> None:
        check_placement(v, self.model, "v")
        expected = self.shape[:-1]
        if tuple(v.shape[: len(expected)]) != expected or v.ndim > len(expected) + 1:
            block = f"({', '.join(str(side) for side in expected)}, r)"
            msg = f"`v` has shape {tuple(v.shape)}, expected {expected}, or {block} for r vectors at once."
            raise ValueError(msg)
        if v.dtype != self.dtype:
            msg = f"`v` has dtype {v.dtype}, but the operator has {self.dtype}: convert it with xp.astype."
            raise TypeError(msg)

    def _products(self, v: Float[Array, "b s r"]) -> Float[Array, "q r s"]:
        """Product of every functional's kernel with its columns: the only or the functional's own matrix of ``v``."""
        xp = self.model.namespace
        functionals = 1 if self.outputs == "full" else self._functionals.shape[0]
        passes = [(a, column) for a in range(functionals) for column in range(v.shape[2])]
        room = default_bytes(self.model, BUDGET) if self.memory_limit is None else self.memory_limit // 2
        at_once = max(1, room // (self.model.n_parameters * itemsize(v)))
        slabs = []
        n = batches.count(self.x)
        with task("product", total=2 * n * len(passes), unit="passes") as bar:
            for start, stop in arrays.spans(len(passes), at_once):
                chosen = passes[start:stop]
                tangents = xp.stack([self._pull(v, chosen_pass, bar) for chosen_pass in chosen])
                slabs.append(self._push(tangents, chosen, bar))
        return xp.reshape(xp.concat(slabs), (functionals, v.shape[2], v.shape[1]))

    def _pull(self, v: Float[Array, "b s r"], chosen: _Pass, bar: Task) -> Float[Array, " p"]:
        """Jᵀ of one column, summed over batches of inputs."""
        total = None
        for start, stop in bar.spans(batches.count(self.x), self._sizes[0]):
            count(jacobian_rows=stop - start)
            part = self.model.vjp(batches.span(self.x, start, stop), self._cotangents(v, chosen, start, stop))
            total = part if total is None else total + part
        assert total is not None
        return total

    def _cotangents(self, v: Float[Array, "b s r"], chosen: _Pass, start: int, stop: int) -> Float[Array, "n c"]:
        functional, column = chosen
        if self.outputs == "full":
            c = self.model.n_outputs
            return self.model.namespace.reshape(v[0, start * c : stop * c, column], (stop - start, c))
        matrix = functional if self.outputs == "each" else 0
        return v[matrix, start:stop, column][:, None] * self._functionals[functional, :][None, :]

    def _push(self, tangents: Float[Array, "r p"], passes: Sequence[_Pass], bar: Task) -> Float[Array, "r s"]:
        """J of parameter vectors, each contracted with its pass's functional."""
        xp = self.model.namespace
        functionals = xp.stack([self._functionals[functional, :] for functional, _ in passes])
        pieces = []
        # Outputs and activations are held per input and vector, and the batch is the room for one vector.
        for start, stop in arrays.spans(batches.count(self.x), max(1, self._sizes[0] // len(passes))):
            moved = self.model.jvp(batches.span(self.x, start, stop), tangents)
            if self.outputs == "full":
                pieces.append(xp.reshape(moved, (len(passes), -1)))
            else:
                pieces.append(xp.sum(moved * functionals[:, None, :], axis=2))
            bar.advance(len(passes) * (stop - start))
        return xp.concat(pieces, axis=1)

    def _norms(self, start: int, stop: int) -> Float[Array, "q n"]:
        count(jacobian_rows=(stop - start) * self._functionals.shape[0])
        total = None
        for block in self.model.gradient_blocks(batches.span(self.x, start, stop), self._functionals):
            part = squared_norms(block)
            total = part if total is None else total + part
        assert total is not None
        return total
