"""What every model must satisfy: its blocks, products and outputs are those of one differentiable function."""

import dataclasses
import re
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dntk.arrays import device_of, kernel_dtype
from dntk.backend import backend_of
from dntk.models.base import Model
from dntk.testing.place import host, host64
from dntk.testing.properties import Property, check_properties, require
from dntk.testing.spectrum_cases import Host
from dntk.types import Array


def check_model(
    model: Model,
    x: Array,
    *,
    outputs_at: Callable[[Host], Any] | None = None,
    examples: int = 10,
    exempt: Collection[str] = (),
) -> None:
    """Check a model at some inputs: Jacobian blocks against products, subsets, batches and finite differences.

    Properties: "outputs", "coordinates", "jvp", "vjp", "adjoint", "own cotangents", "gram", "single inputs", "subset"
    and, with ``outputs_at``, "finite differences". Everything is compared to half the digits of the dtype, relative to
    the magnitudes involved, because the rounding of an unknown network has no bound.

    Parameters
    ----------
    model
        From :func:`dntk.as_model` or a backend's ``as_model``.
    x
        A few inputs.
    outputs_at
        Outputs (n, C) at ``x`` of the same network with another flattened parameter vector, a host array in float64.
        Central differences are taken along random directions: the network must be smooth near its parameters.
    examples
        Cases per property.
    exempt
        Names of properties that are not asked.

    Raises
    ------
    dntk.testing.CheckFailure
        Which properties do not hold, each with the example that falsifies it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> dntk.testing.check_model(model, rng.normal(size=(5, 3)), examples=2)
    """
    properties = _ModelProperties(model, x, outputs_at).every()
    check_properties(f"the model {type(model).__name__}", properties, examples=examples, exempt=exempt)


@dataclasses.dataclass(frozen=True)
class _ModelProperties:
    model: Model
    x: Array
    outputs_at: Callable[[Host], Any] | None

    def every(self) -> list[Property]:
        drawn = {"seed": st.integers(0, 2**32 - 1)}
        stated = [
            ("jvp", "jvp(x, v) is the blocks times v", self._jvp),
            ("vjp", "vjp(x, c) is the transposed blocks times c", self._vjp),
            ("adjoint", "⟨c, jvp(x, v)⟩ = ⟨vjp(x, c), v⟩", self._adjoint),
            ("own cotangents", "cotangents (q, n, C) weigh the Jacobians of each input", self._own),
            ("gram", "a block's gram, mean_gram and cross_gram are those of its dense gradients", self._gram),
        ]
        found = [
            Property(name="outputs", statement="model(x) is (n, C), finite, in its dtype", body=self._outputs),
            Property(
                name="coordinates", statement="blocks hold every parameter once, in order", body=self._coordinates
            ),
            *(Property(name=n, statement=what, body=body, strategies=drawn) for n, what, body in stated),
            Property(name="single inputs", statement="every input's gradients are its own", body=self._single),
            Property(name="subset", statement="a subset's blocks are the columns of its parameters", body=self._subset),
        ]
        if self.outputs_at is not None:
            statement = "(f(θ + hv) − f(θ − hv))/2h = jvp(x, v)"
            difference = Property(
                name="finite differences", statement=statement, body=self._differences, strategies=drawn
            )
            found.append(difference)
        return found

    def _array(self, values: Host) -> Array:
        xp = self.model.namespace
        array = backend_of(self.x).from_numpy(values.astype("float32"), device=self.model.device)
        return xp.astype(array, self.model.dtype)

    def _draw(self, seed: int, *shape: int) -> tuple[Array, Host]:
        """Numbers that all dtypes hold exactly, and the same on the host."""
        values = np.random.default_rng(seed).integers(-8, 9, shape) / 8.0
        return self._array(values), values

    def _blocks(self, model: Model, x: Array, cotangents: Array) -> Any:
        xp = model.namespace
        wide = xp.astype(cotangents, kernel_dtype(xp, model.dtype))
        return sorted(model.gradient_blocks(x, wide), key=lambda block: block.offset)

    def _jacobian(self, x: Array | None = None, model: Model | None = None) -> Host:
        """(C, n, P) from the blocks."""
        chosen = self.model if model is None else model
        eye = self._array(np.eye(self.model.n_outputs))
        blocks = self._blocks(chosen, self.x if x is None else x, eye)
        return np.concatenate([host64(block.dense()) for block in blocks], axis=2)

    def _close(self, found: Host, expected: Host, sizes: Any, what: str) -> None:
        require(found.shape == expected.shape, f"{what} has shape {found.shape}, expected {expected.shape}")
        digits = float(self.model.namespace.finfo(self.model.dtype).eps) ** 0.5
        worst = float(np.max(np.abs(found - expected) - digits * sizes))
        require(
            worst <= 0, f"{what} differs by {float(np.max(np.abs(found - expected))):.3g}, sizes {np.max(sizes):.3g}"
        )

    def _outputs(self) -> None:
        out = self.model(self.x)
        shape = (self.x.shape[0], self.model.n_outputs)
        require(tuple(out.shape) == shape, f"outputs have shape {tuple(out.shape)}, expected {shape}")
        require(out.dtype == self.model.dtype, f"outputs are {out.dtype}, the parameters {self.model.dtype}")
        require(device_of(out) == self.model.device, f"outputs are on {device_of(out)}, not on {self.model.device}")
        require(np.all(np.isfinite(host64(out))), "outputs are not finite")

    def _coordinates(self) -> None:
        sizes = {name: int(np.prod(value.shape)) for name, value in self.model.parameters.items()}
        total = sum(sizes.values())
        require(
            total == self.model.n_parameters, f"n_parameters is {self.model.n_parameters}, they have {total} entries"
        )
        position = 0
        for block in self._blocks(self.model, self.x, self._array(np.eye(self.model.n_outputs))):
            require(block.offset == position, f"block {block.name} begins at {block.offset}, expected {position}")
            shape = (self.model.n_outputs, self.x.shape[0], block.size)
            dense = block.dense()
            require(tuple(dense.shape) == shape, f"block {block.name} is {tuple(dense.shape)}, expected {shape}")
            position += block.size
        require(position == total, f"blocks hold {position} of {total} coordinates")

    def _jvp(self, seed: int) -> None:
        v, wide = self._draw(seed, 2, self.model.n_parameters)
        jacobian = self._jacobian()
        expected, sizes = (np.einsum("cnp,qp->qnc", a, b) for a, b in ((jacobian, wide), (abs(jacobian), abs(wide))))
        self._close(host64(self.model.jvp(self.x, v)), expected, sizes, "jvp")

    def _vjp(self, seed: int) -> None:
        c, wide = self._draw(seed, self.x.shape[0], self.model.n_outputs)
        jacobian = self._jacobian()
        expected, sizes = (np.einsum("cnp,nc->p", a, b) for a, b in ((jacobian, wide), (abs(jacobian), abs(wide))))
        self._close(host64(self.model.vjp(self.x, c)), expected, sizes, "vjp")

    def _adjoint(self, seed: int) -> None:
        v, wide = self._draw(seed, 1, self.model.n_parameters)
        c, weights = self._draw(seed + 1, self.x.shape[0], self.model.n_outputs)
        forward, back = host64(self.model.jvp(self.x, v))[0], host64(self.model.vjp(self.x, c))
        sizes = np.einsum("cnp,p,nc->", abs(self._jacobian()), abs(wide[0]), abs(weights))
        left, right = np.sum(forward * weights, keepdims=True), np.sum(back * wide[0], keepdims=True)
        self._close(left.ravel(), right, sizes, "⟨c, Jv⟩")

    def _own(self, seed: int) -> None:
        c, wide = self._draw(seed, 2, self.x.shape[0], self.model.n_outputs)
        found = np.concatenate([host64(block.dense()) for block in self._blocks(self.model, self.x, c)], axis=2)
        jacobian = self._jacobian()
        expected, sizes = (np.einsum("cnp,qnc->qnp", a, b) for a, b in ((jacobian, wide), (abs(jacobian), abs(wide))))
        self._close(found, expected, sizes, "gradients")

    def _gram(self, seed: int) -> None:
        c, _ = self._draw(seed, 2, self.model.n_outputs)
        for block in self._blocks(self.model, self.x, c):
            dense = host64(block.dense())
            cross = np.einsum("qnp,rmp->qnrm", dense, dense)
            sizes = np.einsum("qnp,rmp->qnrm", abs(dense), abs(dense))
            self._close(host64(block.cross_gram(block)), cross, sizes, f"cross_gram of {block.name}")
            each, slack = (np.einsum("qnqm->qnm", full) for full in (cross, sizes))
            self._close(host64(block.gram(block)), each, slack, f"gram of {block.name}")
            self._close(host64(block.mean_gram(block)), each.mean(axis=0), slack.mean(axis=0), "mean_gram")

    def _single(self) -> None:
        jacobian, outputs = self._jacobian(), host64(self.model(self.x))
        for i in range(self.x.shape[0]):
            one = self.x[i : i + 1, ...]
            norm = np.linalg.norm(jacobian[:, i : i + 1], axis=2, keepdims=True)
            self._close(self._jacobian(one), jacobian[:, i : i + 1], norm, f"the gradients of input {i} alone")
            size = np.linalg.norm(outputs[i]) + 1
            self._close(host64(self.model(one))[0], outputs[i], size, f"the outputs of input {i} alone")

    def _subset(self) -> None:
        jacobian, position = self._jacobian(), 0
        for name, value in self.model.parameters.items():
            chosen = self.model.subset(re.escape(name))
            require(list(chosen.parameters) == [name], f"subset({name!r}) has {list(chosen.parameters)}")
            size = int(np.prod(value.shape))
            mine = jacobian[:, :, position : position + size]
            norm = np.linalg.norm(mine, axis=2, keepdims=True)
            self._close(self._jacobian(model=chosen), mine, norm, f"the gradients of {name} alone")
            position += size

    def _differences(self, seed: int) -> None:
        assert self.outputs_at is not None
        flat = [host(value).astype(np.float64).ravel() for value in self.model.parameters.values()]
        theta = np.concatenate(flat)
        v, wide = self._draw(seed, 1, theta.size)
        step = 2.0**-17 / max(1.0, float(np.max(np.abs(wide))))  # about the cube root of eps
        ends = [np.asarray(self.outputs_at(theta + sign * step * wide[0]), np.float64) for sign in (1, -1)]
        sizes = np.einsum("cnp,p->nc", abs(self._jacobian()), abs(wide[0])) + np.abs(ends[0]) + 1
        self._close(host64(self.model.jvp(self.x, v))[0], (ends[0] - ends[1]) / (2 * step), sizes, "jvp")
