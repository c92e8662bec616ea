"""What every sketch must satisfy, and the check that a sketch does."""

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dntk.arrays import device_of, namespace
from dntk.features import tangent_features
from dntk.sketch.application import bind
from dntk.sketch.base import Sketch
from dntk.testing.networks import Network, models
from dntk.testing.place import Place, host, host64
from dntk.testing.properties import Property, check_properties, require
from dntk.testing.sketch_cases import SketchCase, rounding, sketch_cases
from dntk.testing.sketch_moments import SketchMoments
from dntk.testing.spectrum_cases import Host


def check_sketch(
    sketch: Sketch, *, place: Place | None = None, examples: int = 25, exempt: Collection[str] = ()
) -> None:
    """Check that a sketch is one seeded linear map with E[SᵀS] = I, however it is applied.

    Properties: "protocol", "matrix", "linear", "adjoint", "pieces", "batches", "zero and equal rows", "seeds",
    "gradient blocks", "unbiased" and, for a sketch with ``error(n, confidence=)``, "stated error". Rows run over
    magnitudes of 1e-24 to 1e24 and parameters from one number to 324; allowances are rounding bounds, and seven
    standard errors over 200 seeds. A second or two for a dimension of 64 on NumPy.

    Parameters
    ----------
    sketch
        A small one, say of dimension 64: a frozen dataclass with ``seed``, and ``n_parameters`` or ``bound(layout)``.
    place
        The arrays that it is tried on; default: NumPy's.
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
    >>> dntk.testing.check_sketch(dntk.sketch.SparseSign(16), examples=2)  # it is one: no error
    """
    here = place or Place.called("numpy")
    check_properties(repr(sketch), _SketchProperties(sketch, here).every(), examples=examples, exempt=exempt)


@dataclasses.dataclass(frozen=True)
class _SketchProperties:
    sketch: Sketch
    place: Place

    def every(self) -> list[Property]:
        cases = {"case": sketch_cases(self.place)}
        cuts = {**cases, "cuts": st.sets(st.integers(1, 323), max_size=3)}
        networks = {"network": models(self.place, points=(1, 4)), "seed": st.integers(0, 2**64 - 1)}
        moments = SketchMoments(self.sketch, self.place)
        same = "the same for every call, and no input is changed"
        found = [
            Property(name="protocol", statement="has the members of dntk.sketch.Sketch", body=self._protocol),
            Property(name="matrix", statement=f"apply(x) = S x, {same}", body=self._matrix, strategies=cases),
            Property(name="linear", statement="S(2x + y) = 2 S x + S y", body=self._linear, strategies=cases),
            Property(name="adjoint", statement="⟨S x, z⟩ = ⟨x, Sᵀ z⟩", body=self._adjoint, strategies=cases),
            Property(
                name="pieces", statement="the columns of pieces add up to the whole", body=self._pieces, strategies=cuts
            ),
            Property(
                name="batches",
                statement="leading axes are kept, and dtype, device and library",
                body=self._batches,
                strategies=cases,
            ),
            Property(
                name="zero and equal rows",
                statement="zero rows give exact zeros, equal rows equal ones up to rounding",
                body=self._special_rows,
                strategies=cases,
            ),
            Property(name="seeds", statement="two seeds give two maps", body=self._seeds, strategies=cases),
            Property(
                name="gradient blocks",
                statement="tangent_features(model, x, sketch) = S applied to the whole gradients",
                body=self._blocks,
                strategies=networks,
            ),
            Property(name="unbiased", statement="E[SᵀS] = I over 200 seeds", body=moments.unbiased),
        ]
        if hasattr(self.sketch, "error"):
            statement = "the kernel's error is as rare, and its second moment as small, as error(n, confidence=) says"
            found.append(Property(name="stated error", statement=statement, body=moments.stated_error))
        return found

    def _protocol(self) -> None:
        require(isinstance(self.sketch, Sketch), "a member of dntk.sketch.Sketch is missing")
        require(dataclasses.is_dataclass(self.sketch), "a sketch must be a frozen dataclass")
        dim: Any = self.sketch.dim
        require(isinstance(dim, int) and dim >= 1, f"dim must be a positive integer, got {dim!r}")
        for rows in (1, 7, 10**6):
            width = self.sketch.chunk_width(rows)
            require(isinstance(width, int) and width >= 1, f"chunk_width({rows}) must be positive, got {width!r}")

    def _matrix(self, case: SketchCase) -> None:
        sketch = case.sketch(self.sketch)
        require(sketch.dim == self.sketch.dim, f"binding changes dim from {self.sketch.dim} to {sketch.dim}")
        matrix, rows = case.matrix(sketch, self.place), case.draw(case.rows, case.size)
        given = self.place.array(rows)
        first = host(sketch.apply(given))
        require(np.array_equal(host(given), rows), "apply changes its argument")
        require(first.shape == (case.rows, sketch.dim), f"apply gives shape {first.shape}")
        again = host(case.sketch(self.sketch).apply(self.place.array(rows)))
        require(np.array_equal(first, again), "a second call with the same seed gives other numbers")
        _close(first, rows.astype(np.float64) @ matrix, rounding(rows, matrix, case.dtype), "S x")

    def _linear(self, case: SketchCase) -> None:
        sketch = case.sketch(self.sketch)
        x, y = case.draw(case.rows, case.size), case.draw(case.rows, case.size, 1)
        sketched = [host64(sketch.apply(self.place.array(v))) for v in (x, y, 2 * x + y)]
        matrix = case.matrix(sketch, self.place)
        slack = 2 * rounding(2 * np.abs(x) + np.abs(y), matrix, case.dtype)  # one rounding more, of the sum
        _close(2 * sketched[0] + sketched[1], sketched[2], slack, "2 S x + S y")

    def _adjoint(self, case: SketchCase) -> None:
        sketch = case.sketch(self.sketch)
        matrix = case.matrix(sketch, self.place)
        z = case.draw(case.rows, sketch.dim)
        back = host(sketch.adjoint(self.place.array(z)))
        require(back.shape == (case.rows, case.size), f"adjoint gives shape {back.shape}")
        _close(back, z.astype(np.float64) @ matrix.T, rounding(z, matrix.T, case.dtype), "Sᵀ z")

    def _pieces(self, case: SketchCase, cuts: set[int]) -> None:
        sketch = case.sketch(self.sketch)
        edges = [0, *sorted(c for c in cuts if c < case.size), case.size]
        rows, total = case.draw(case.rows, case.size), np.zeros((case.rows, sketch.dim))
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            total = total + host64(sketch.columns(self.place.array(rows[:, start:stop]), start))
        matrix = case.matrix(sketch, self.place)
        _close(total, rows.astype(np.float64) @ matrix, rounding(rows, matrix, case.dtype), f"pieces {edges}")

    def _batches(self, case: SketchCase) -> None:
        sketch = case.sketch(self.sketch)
        rows = self.place.array(case.draw(6, case.size).reshape(2, 3, case.size))
        for name, batch in (("(2, 3, P)", rows), ("(P,)", rows[0, 0, :])):
            out = sketch.apply(batch)
            shape = (*batch.shape[:-1], sketch.dim)
            require(tuple(out.shape) == shape, f"rows of shape {name} give {tuple(out.shape)}, expected {shape}")
            require(out.dtype == batch.dtype, f"{batch.dtype} in, {out.dtype} out")
            require(namespace(out) is namespace(batch), "the result belongs to another library")
            require(device_of(out) == device_of(batch), f"on {device_of(batch)} in, on {device_of(out)} out")
        matrix = case.matrix(sketch, self.place)
        wide = host64(rows)
        found = host64(sketch.apply(rows))
        _close(found, wide @ matrix, rounding(wide, matrix, case.dtype), "S x of a batch")

    def _special_rows(self, case: SketchCase) -> None:
        sketch = case.sketch(self.sketch)
        row = case.draw(1, case.size)
        rows = np.concatenate([row, 0 * row, row, 0 * row, row])
        out = host64(sketch.apply(self.place.array(rows)))
        require(np.all(out[1::2] == 0), "a zero row is not sketched to zeros")
        slack = 2 * rounding(row, case.matrix(sketch, self.place), case.dtype)
        _close(out[2::2], np.broadcast_to(out[:1], out[2::2].shape), slack, "equal rows")

    def _seeds(self, case: SketchCase) -> None:
        """A long random row, because a map that keeps all coordinates need not be random."""
        shapes = {"w": (2 * self.sketch.dim + 2, 2)}
        one = dataclasses.replace(case, shapes=shapes, scale=1.0)
        row = self.place.array(np.random.default_rng(case.values).standard_normal((1, one.size)), case.dtype)
        others = [dataclasses.replace(one, seed=(case.seed + step) % 2**64) for step in (0, 1, 2**32)]
        first, *rest = [host(other.sketch(self.sketch).apply(row)) for other in others]
        require(any(not np.array_equal(first, other) for other in rest), "three seeds give the same sketch")

    def _blocks(self, network: Network, seed: int) -> None:
        sketch = dataclasses.replace(self.sketch, seed=seed)  # type: ignore[type-var]
        model, x = network.model, network.x
        gradients = tangent_features(model, x, sketch=None).values
        bound = bind(sketch, model)
        matrix = host64(bound.apply(self.place.array(np.eye(model.n_parameters), network.dtype)))
        wide = host64(gradients)
        slack = 2 * rounding(wide, matrix, network.dtype)
        for batch in (None, 1):
            phi = tangent_features(model, x, sketch=sketch, batch_size=batch)
            require(phi.values.dtype == gradients.dtype, f"features are {phi.values.dtype}, not {gradients.dtype}")
            _close(host64(phi.values), wide @ matrix, slack, f"features with batch_size={batch}")


def _close(found: Host, expected: Host, slack: Any, what: str) -> None:
    require(np.all(np.isfinite(found)), f"{what} is not finite")
    excess = np.abs(found.astype(np.float64) - expected) - slack
    worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
    where = tuple(int(i) for i in worst)
    allowed = float(np.broadcast_to(slack, excess.shape)[worst])
    message = f"{what} is {found[worst]:.9g} at {where}, expected {expected[worst]:.9g} within {allowed:.2g}"
    require(np.all(excess <= 0), message)
