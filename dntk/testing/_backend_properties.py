"""What every backend must supply besides its namespace, and the check that one does."""

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import scipy.special
from hypothesis import strategies as st

from dntk.arrays import device_of, namespace
from dntk.backend import Backend, backend_of
from dntk.kernels._ntk import ntk
from dntk.random import integers_of, moved, nearby_signs, nearby_words, words
from dntk.random.philox import philox_words
from dntk.random.streams import in_host_memory
from dntk.sketch import Gaussian, SparseSign
from dntk.testing._model_properties import check_model
from dntk.testing.allowances import eps, gamma
from dntk.testing.networks import Network, models
from dntk.testing.place import Place, host64
from dntk.testing.product_properties import ProductProperties
from dntk.testing.properties import Property, check_properties, require
from dntk.testing.spectrum_cases import Host

_KINDS = ("float32", "float64", "int32", "int64", "bool")
_SPECIAL = (0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-38, 1e38)


def check_backend(
    backend: Backend,
    *,
    device: Any = None,
    network: Any = None,
    x: Any = None,
    examples: int = 25,
    exempt: Collection[str] = (),
) -> None:
    """Check a backend against the protocol, on one device, and against NumPy and SciPy.

    Properties: "identity", "round trip", "DLPack", "random draws" (bit for bit NumPy's), "sketches" (likewise),
    "scatter_add", "triangular_solve", "inner", "gram", "expand", "erf", "working_set", "synchronize", "refusal" and
    "kernels".
    Allowances are rounding bounds that hold for every order of summation; products in reduced precision, such as TF32,
    do not meet them.

    Parameters
    ----------
    backend
        Registered under the root module of its namespace, as :func:`dntk.backend.backend_of` finds it.
    device
        As its ``from_numpy`` takes it; ``None``: the default. Call once per device.
    network, x
        A network that ``as_model`` understands, with inputs as an array of this backend: its model is then checked
        with :func:`dntk.testing.check_model`.
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
    >>> dntk.testing.check_backend(dntk.backend.get_backend("numpy"), examples=2)
    """
    place = Place(backend, device)
    products = ProductProperties(place).every()
    subject = f"backend {backend.name!r} on {'its default device' if device is None else device}"
    check_properties(subject, [*_BackendProperties(place).every(), *products], examples=examples, exempt=exempt)
    if network is not None:
        check_model(backend.as_model(network, None, None), x, examples=examples)


@dataclasses.dataclass(frozen=True)
class _BackendProperties:
    place: Place

    @property
    def backend(self) -> Backend:
        """The backend itself."""
        return self.place.backend

    def every(self) -> list[Property]:
        drawn = {
            "seed": st.integers(0, 2**64 - 1),
            "start": st.integers(0, 2**40),
            "count": st.sampled_from([1, 9, 40]),
        }
        networks = models(self.place, activations=("tanh", "gelu", "identity"))
        return [
            Property(name="identity", statement="says what it is, and arrays lead back to it", body=self._identity),
            Property(
                name="round trip",
                statement="from_numpy keeps dtype, shape and every bit, on its device; to_numpy brings them back",
                body=self._round_trip,
                strategies={"kind": st.sampled_from(self._kinds()), "seed": st.integers(0, 2**32 - 1)},
            ),
            Property(
                name="DLPack", statement="from_dlpack gives the same numbers in the same place", body=self._dlpack
            ),
            Property(
                name="random draws",
                statement="words, integers and signs are NumPy's, bit for bit",
                body=self._draws,
                strategies=drawn,
            ),
            Property(
                name="sketches",
                statement="one seed gives the matrix that it gives on NumPy, bit for bit",
                body=self._sketches,
                strategies={"seed": drawn["seed"], "dtype": st.sampled_from(self.place.dtypes)},
            ),
            Property(
                name="erf",
                statement="SciPy's, to 5 eps; odd; ±1 at infinity",
                body=self._erf,
                strategies={"dtype": st.sampled_from(self.place.dtypes), "seed": st.integers(0, 2**32 - 1)},
            ),
            Property(name="working_set", statement="a positive number of entries", body=self._working_set),
            Property(name="synchronize", statement="returns, and leaves the array alone", body=self._synchronize),
            Property(name="refusal", statement="as_model raises TypeError for what is no network", body=self._refusal),
            Property(
                name="kernels",
                statement="the kernel of a perceptron is NumPy's, in float64, up to rounding",
                body=self._kernels,
                strategies={"network": networks},
            ),
        ]

    def _kinds(self) -> list[str]:
        info = self.backend.namespace().__array_namespace_info__()
        found = info.dtypes(device=self.place.device)
        return [kind for kind in _KINDS if kind in found]

    def _identity(self) -> None:
        require(isinstance(self.backend, Backend), "a member of dntk.backend.Backend is missing")
        texts = (("name", self.backend.name), ("version", self.backend.version), ("autodiff", self.backend.autodiff))
        for name, value in texts:
            require(isinstance(value, str), f"`{name}` is {value!r}, expected a text")
        devices = self.backend.devices()
        require(len(devices) > 0 and all(isinstance(d, str) for d in devices), f"devices() is {devices!r}")
        array = self.place.array([1.0], "float32")
        require(namespace(array) is self.backend.namespace(), "arrays do not belong to namespace()")
        found = backend_of(array)
        same = type(found) is type(self.backend) and found.name == self.backend.name
        require(same, f"dntk takes its arrays for those of {found!r}: register it under their root module")

    def _round_trip(self, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        wide = rng.choice(_SPECIAL, 24) if kind.startswith("float") else rng.integers(0, 2**31, 24)
        values: Host = wide.astype(kind)
        for shape, host in (
            ("(24,)", values),
            ("(2, 3, 4)", values.reshape(2, 3, 4)),
            ("(4, 6) transposed", values.reshape(6, 4).T),
            ("every other", values[::2]),
            ("()", values[0].reshape(())),
            ("empty", values[:0]),
        ):
            array = self.backend.from_numpy(host, device=self.place.device)
            back = np.asarray(self.backend.to_numpy(array))
            require(back.dtype == host.dtype, f"{kind} becomes {back.dtype}")
            same = back.shape == host.shape and back.tobytes() == host.tobytes()
            require(same, f"{kind} of shape {shape} does not come back as it was: {host} becomes {back}")
        first, second = (device_of(self.place.array(values)) for _ in range(2))
        require(first == second, f"arrays land on {first}, then on {second}")
        if self.place.device is not None and not isinstance(self.place.device, str):
            require(first == self.place.device, f"asked for {self.place.device}, arrays land on {first}")

    def _dlpack(self) -> None:
        values = np.arange(12, dtype="float32").reshape(3, 4)
        array = self.place.array(values)
        sources = [array, values] if in_host_memory(array) and self.place.device is None else [array]
        for source in sources:
            taken = self.backend.from_dlpack(source)
            require(namespace(taken) is self.backend.namespace(), "from_dlpack gives another library's array")
            require(device_of(taken) == device_of(array), f"from_dlpack moves the array to {device_of(taken)}")
            require(taken.dtype == array.dtype, f"from_dlpack gives {taken.dtype}")
            require(np.array_equal(host64(taken), values), "from_dlpack gives other numbers")

    def _draws(self, seed: int, start: int, count: int) -> None:
        like = self.place.array([1.0], "float32")
        skip, counters = start % 8, -(-(start % 8 + count) // 8)
        expected = words(seed=seed, stream="check", start=start - skip, count=8 * counters)[skip : skip + count]
        found = nearby_words(like, seed=seed, stream="check", start=start, count=count)
        _require_same("words", found, expected)
        key = (seed, 0x2C2C9F7F)
        generator = np.random.Philox(key=np.array(key, dtype=np.uint64))
        generator.advance(start)
        raw = generator.random_raw(4 * counters).astype("<u8").view("<u4")
        xp = self.backend.namespace()
        drawn = philox_words(xp, key=key, first=start + 1, counters=counters, device=device_of(like))
        _require_same("words drawn on the device", drawn, raw)
        small = integers_of(drawn, 1000)
        _require_same("integers below 1000", small, ((raw.astype(np.uint64) >> np.uint64(1)) * np.uint64(1000)) >> 31)
        signs = nearby_signs(like, seed=seed, stream="check", start=count, rows=2, columns=37, scale=0.5)
        host = nearby_signs(
            np.ones(1, "float32"), seed=seed, stream="check", start=count, rows=2, columns=37, scale=0.5
        )
        _require_same("signs", signs, np.asarray(host))
        require(device_of(moved(np.ones(2, "float32"), like)) == device_of(like), "draws are moved elsewhere")

    def _sketches(self, seed: int, dtype: str) -> None:
        identity = np.eye(20, dtype=dtype)
        for sketch in (Gaussian(9, seed=seed), SparseSign(9, nonzeros=3, seed=seed)):
            found = sketch.apply(self.place.array(identity))
            _require_same(repr(sketch), found, sketch.apply(identity))

    def _erf(self, dtype: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x = (rng.standard_normal(50) * 10.0 ** rng.uniform(-5, 1, 50)).astype(dtype)
        found = host64(self.backend.erf(self.place.array(x)))
        error = float(np.max(np.abs(found - scipy.special.erf(x.astype(np.float64)))))
        require(error <= 5 * eps(dtype), f"erf errs by {error:.2g}, allowed are {5 * eps(dtype):.2g}")
        ends = host64(self.backend.erf(self.place.array([np.inf, -np.inf, 0.0], dtype)))
        require(np.array_equal(ends, [1, -1, 0]), f"erf of ∞, −∞ and 0 is {ends}")

    def _working_set(self) -> None:
        for values in ([], [1.0, 2.0]):
            found = self.backend.working_set(self.place.array(values, "float32"))
            require(isinstance(found, int) and found > 0, f"it is {found!r}, expected an integer above zero")

    def _synchronize(self) -> None:
        array = self.place.array([1.0, 2.0], "float32")
        self.backend.synchronize(array)
        require(np.array_equal(host64(array), [1, 2]), "the array changed")

    def _refusal(self) -> None:
        try:
            self.backend.as_model(object(), None, None)
        except TypeError as error:
            require(len(str(error)) > 0, "the TypeError does not say what was expected")
        else:
            require(False, "as_model makes a model of object()")

    def _kernels(self, network: Network) -> None:
        reference = dataclasses.replace(network, library=_Wide())
        norm, error = network.gradient_error()
        terms = gamma(network.model.n_outputs * network.model.n_parameters + 8, network.dtype)
        slack = 2 * (np.outer(norm, error) + np.outer(error, norm) + terms * np.outer(norm, norm))
        found = host64(ntk(network.model, network.x))
        expected = host64(ntk(reference.model, reference.x))
        worst = float(np.max(np.abs(found - expected) - slack))
        require(worst <= 0, f"the kernel differs from NumPy's by {worst:.3g} more than rounding")


@dataclasses.dataclass(frozen=True)
class _Wide:
    """NumPy arrays in float64, of the same numbers."""

    def array(self, values: Any, dtype: Any = None) -> Any:
        return np.asarray(np.asarray(values, dtype=dtype), dtype=np.float64)


def _require_same(what: str, found: Any, expected: Any) -> None:
    host = np.asarray(backend_of(found).to_numpy(found))
    same = host.shape == np.shape(expected) and np.array_equal(
        host.astype(np.float64), np.asarray(expected, np.float64)
    )
    require(same, f"{what} are {host.ravel()[:6]}, on NumPy {np.ravel(expected)[:6]}")
