"""Sources of points: read batch by batch, and everywhere the same as the array that they hold."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

import dntk
from dntk.models import Points, batches
from dntk.models.sources import stacked
from tests.libraries import Library, host
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")


@dataclasses.dataclass
class Listed:
    """A data set of examples, which counts how many it has handed out at once."""

    examples: list
    most: int = 0

    def __len__(self):
        return len(self.examples)

    def __getitems__(self, places):
        self.most = max(self.most, len(places))
        return [self.examples[i] for i in places]

    def __getitem__(self, place):
        return self.examples[place]


def stored(kind, x, folder):
    """The rows of ``x`` as a source of some kind."""
    if kind == "data set":
        return Listed(list(x))
    if kind == "memory map":
        np.save(folder / "x.npy", x)
        return dntk.points(np.load(folder / "x.npy", mmap_mode="r"))
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(folder / "x.zarr", shape=x.shape, chunks=(7, x.shape[1]), dtype=x.dtype)
    array[:] = x
    return array


@pytest.mark.parametrize("kind", ["data set", "memory map", "zarr"])
def test_arrays_on_disk_and_data_sets_are_read(kind, tmp_path):
    x, model = inputs(NUMPY, 23), mlp(NUMPY)
    np.testing.assert_array_equal(
        dntk.ntk(model, stored(kind, x, tmp_path), batch_size=9), dntk.ntk(model, x, batch_size=9)
    )


def test_everything_that_takes_inputs_takes_a_source(library):
    x = np.random.default_rng(0).normal(size=(23, 6))
    model, array = mlp(library), library.array(x, "f4")
    source = Listed(list(x))
    kernels = [dntk.ntk(model, x, array[:5, ...], batch_size=4) for x in (source, array)]
    np.testing.assert_array_equal(host(kernels[0]), host(kernels[1]))
    phi = dntk.tangent_features(model, source, sketch=None, batch_size=5)
    np.testing.assert_array_equal(
        host(phi.values), host(dntk.tangent_features(model, array, sketch=None, batch_size=5).values)
    )
    operator, vector = dntk.NTKOperator(model, source, batch_size=6), library.array(np.ones(23), "f4")
    np.testing.assert_array_equal(host(operator @ vector), host(dntk.NTKOperator(model, array, batch_size=6) @ vector))
    spec = dntk.DistilledNTK(model, data=dntk.distill.data.RPCholesky(9, seed=0), ridge=1e-2)
    fit, expected = spec.fit(source), spec.fit(array)
    np.testing.assert_array_equal(host(fit.indices), host(expected.indices))
    mine, theirs = fit.query(source), expected.query(array)
    for name in ("prediction", "uncertainty", "trust"):
        np.testing.assert_array_equal(host(getattr(mine, name)), host(getattr(theirs, name)))
    dropped = [host(each.certificate.dropped_residual.upper) for each in (fit, expected)]
    np.testing.assert_array_equal(*dropped)


def test_points_of_a_source_are_read_a_batch_at_a_time():
    source = Listed(list(inputs(NUMPY, 40)))
    dntk.tangent_features(mlp(NUMPY), source, sketch=None, batch_size=3)
    assert source.most == 4  # the four that are looked at first


def test_a_loader_stands_for_its_data_set_in_its_own_order():
    torch = pytest.importorskip("torch")
    x = torch.randn(12, 6, generator=torch.manual_seed(0))
    data = torch.utils.data.TensorDataset(x)
    model = mlp(NUMPY)
    loader = torch.utils.data.DataLoader(
        data, batch_size=5, shuffle=True, collate_fn=lambda rows: torch.stack([r for (r,) in rows])
    )
    np.testing.assert_array_equal(dntk.ntk(model, loader), dntk.ntk(model, x.numpy()))


def test_an_array_in_memory_is_a_source_of_its_rows(library):
    x = library.array(np.random.default_rng(0).normal(size=(9, 6)), "f4")
    model = mlp(library)
    np.testing.assert_array_equal(host(dntk.ntk(model, dntk.points(x))), host(dntk.ntk(model, x)))


def test_labels_travel_with_a_source():
    x, labels = inputs(NUMPY, 9), np.arange(9) % 3
    model = dntk.outputs.margin(mlp(NUMPY))
    expected = dntk.ntk(model, dntk.outputs.labelled(x, labels))
    np.testing.assert_array_equal(
        dntk.ntk(model, dntk.outputs.labelled(dntk.points(list(x)), labels), batch_size=9), expected
    )


@pytest.mark.parametrize("places", [[3], [5, 1, 1, 6], [0, 1, 2], [6, 5, 4]])
def test_rows_of_stored_arrays_come_in_the_order_asked_for(places, tmp_path):
    x = np.arange(14.0).reshape(7, 2)
    source = dntk.points(stored("zarr", x, tmp_path))
    np.testing.assert_array_equal(source[places], x[places])
    np.testing.assert_array_equal(batches.take(source, np.asarray(places)), x[places])


def test_examples_are_stacked_part_by_part():
    examples = [{"ids": [i, i + 1], "mask": (np.ones(2) * i, i)} for i in range(3)]
    batch = stacked(examples)
    np.testing.assert_array_equal(batch["ids"], [[0, 1], [1, 2], [2, 3]])
    np.testing.assert_array_equal(batch["mask"][0], [[0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(batch["mask"][1], [0, 1, 2])


class Shrinking(Listed):
    def __getitems__(self, places):
        found = super().__getitems__(places)
        self.examples = self.examples[:-1]
        return found


ROWS = list(inputs(NUMPY, 8))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (iter(ROWS), TypeError, "no source of points.*read once only has to become a list"),
        ([], ValueError, "empty"),
        (["a text", "another"], TypeError, r"type str.*collate=lambda texts: tokenizer\("),
        ([np.zeros(6), np.zeros(5)], ValueError, r"several shapes \(\(5,\), \(6,\)\).*pads"),
        (Shrinking(ROWS), ValueError, "had 8 when it was first read"),
        ([object(), object()], TypeError, "type object"),
        ({"train": ROWS}, TypeError, "no source of points"),
        ([{"x": 1.0}, {"x": 1.0, "mask": 1}], ValueError, r"different parts: .*\['x'\], another one .*\['mask', 'x'\]"),
        ([(1.0, ROWS[0]), (ROWS[0],)], ValueError, "different parts: the first one is a tuple of 2, .*a tuple of 1"),
        ([(ROWS[0], ROWS[1]), ROWS[0]], ValueError, "a tuple of 2, .* one array"),
    ],
)
def test_sources_that_cannot_be_read_are_refused(source, error, message):
    with pytest.raises(error, match=message):
        dntk.ntk(mlp(NUMPY), dntk.points(source), batch_size=2)


def test_streams_and_buffers_are_no_sources():
    data = pytest.importorskip("torch").utils.data

    class Stream(data.IterableDataset):
        """It knows its length, and has [i] from its base."""

        def __iter__(self):
            return iter(ROWS)

        def __len__(self):
            return len(ROWS)

    for source in (Stream(), data.ChainDataset([Stream()]), data.DataLoader(Stream()), memoryview(ROWS[0])):
        with pytest.raises(TypeError, match="is no source of points"):
            dntk.points(source)
        with pytest.raises(TypeError, match=r"`x1` is a .*first, (list|torch.cat|numpy.asarray)\("):
            dntk.ntk(mlp(NUMPY), source)


def test_groups_of_stored_arrays_are_no_sources():
    group = pytest.importorskip("zarr").group()
    with pytest.raises(TypeError, match="a zarr Group is no source of points"):
        dntk.points(group)


class DatasetDict(dict):
    """Splits by name, as Hugging Face loads a data set; the library is not needed to know it."""


def test_of_the_splits_of_a_data_set_one_is_to_be_chosen(library):
    splits, model = DatasetDict(train=Listed(ROWS), test=Listed(ROWS[:3])), mlp(library)
    words = r"is a tests DatasetDict of the splits 'train', 'test': choose one of them, {}\['train'\]"
    for name, call in {
        "x1": lambda: dntk.ntk(model, splits),
        "x": lambda: dntk.DistilledNTK(model).fit(splits),
        "source": lambda: dntk.points(splits),
    }.items():
        with pytest.raises(TypeError, match=f"`{name}` " + words.format(name)):
            call()
    with pytest.raises(TypeError, match=words.format("x")):
        dntk.outputs.labelled(splits, np.arange(8))
    assert dntk.ntk(model, splits["train"]).shape == (8, 8)


def test_a_data_set_may_have_a_list_of_keys():
    class Records:
        keys = ("a", "b", "c", "d")

        def __len__(self):
            return len(self.keys)

        def __getitem__(self, place):
            return ROWS[place]

    np.testing.assert_array_equal(dntk.ntk(mlp(NUMPY), Records()), dntk.ntk(mlp(NUMPY), np.stack(ROWS[:4])))


def test_a_collate_that_loses_examples_is_refused():
    source = dntk.points(ROWS, collate=lambda rows: np.stack(rows[:-1]))
    assert isinstance(source, Points)
    with pytest.raises(ValueError, match=r"`collate` made batch of shape \(3, 6\) of 4 examples"):
        dntk.ntk(mlp(NUMPY), source)


@pytest.mark.parametrize("spoilt", [[21], [3], [9, 21]])
@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: dntk.ntk(model, x, batch_size=4),
        lambda model, x: dntk.tangent_features(model, x, sketch=None, batch_size=4),
        lambda model, x: dntk.NTKOperator(model, x, batch_size=4).diagonal(),
        lambda model, x: dntk.DistilledNTK(model).fit(x),
    ],
)
def test_points_that_are_not_finite_are_counted_in_the_source_not_in_the_batch(call, spoilt):
    x = inputs(NUMPY, 23)
    x[spoilt, 1] = np.nan
    with pytest.raises(ValueError, match=rf"NaN or infinite values in .*\(first: point {spoilt[0]} of the source\)"):
        call(mlp(NUMPY), dntk.points(list(x)))


def test_points_that_overflow_in_the_dtype_of_the_model_and_parts_are_named(library):
    x = np.random.default_rng(0).normal(size=(8, 6))
    x[5, 2] = 1e300
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="first: point 5 of the source"):
        dntk.tangent_features(mlp(library), Listed(list(x)), sketch=None)
    with pytest.raises(ValueError, match=r"in its part \['b'\] in 1 of the 2 points .*point 1 of the source"):
        dntk.points([{"a": 1, "b": 2.0}, {"a": 1, "b": np.inf}])[:]


@pytest.mark.parametrize("made", ["text", ["a", "b"], object()])
def test_a_collate_that_makes_no_numbers_is_refused(made, library):
    source = dntk.points(ROWS, collate=lambda _: made)
    with pytest.raises(TypeError, match="batch with a (str|list|object) in it: pass a `collate` that makes arrays"):
        dntk.ntk(mlp(library), source)


def test_one_array_networks_refuse_nests():
    with pytest.raises(TypeError, match="`x1` is a dict, but the network takes one array"):
        dntk.ntk(mlp(NUMPY), {"x": inputs(NUMPY, 3)})


def test_mappings_of_every_kind_are_cut():
    class Encoding(Mapping):
        def __init__(self, parts):
            self.parts = parts

        def __getitem__(self, key):
            return self.parts[key]

        def __iter__(self):
            return iter(self.parts)

        def __len__(self):
            return len(self.parts)

    batch = Encoding({"ids": np.arange(8).reshape(4, 2), "mask": np.ones(4), "none": None})
    assert batches.count(batch) == 4
    np.testing.assert_array_equal(batches.span(batch, 1, 3)["ids"], [[2, 3], [4, 5]])


@pytest.mark.usefixtures("unchecked")
def test_a_collate_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="`collate` is a str: expected a function of a list of examples"):
        dntk.points(ROWS, collate="pad")


def test_a_collate_that_returns_nothing_is_refused():
    source = dntk.points(ROWS, collate=lambda _: None)
    with pytest.raises(ValueError, match=r"`collate` made a batch without arrays \(a NoneType\)"):
        source[:2]


def test_a_loader_that_puts_nothing_together_is_refused():
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), batch_size=None)
    with pytest.raises(TypeError, match=r"batch_size=None.*dntk.points\(loader.dataset\)"):
        dntk.points(loader)
    whole = dntk.points(loader, collate=lambda rows: torch.stack([row for (row,) in rows]))
    assert whole[:].shape == (4, 2)


TEXTS = [[3, 1, 2], [4, 4, 1, 7, 2], [5], [6, 2, 2, 1, 1, 3]]


def padded_text(texts):
    longest = max(map(len, texts))
    return np.asarray([text + [0] * (longest - len(text)) for text in texts], dtype="f4")


def sums_and_means(anp, *, masked):
    def network(params, x):
        mask = anp.asarray(x > 0, dtype="float32") if masked else anp.ones_like(x)
        hidden = anp.tanh(x[..., None] * params["w"]) * mask[..., None]
        return hidden.sum(1) / mask.sum(1)[:, None]

    return network


@pytest.mark.parametrize("library", ["autograd.numpy", "jax.numpy"])
def test_padding_that_the_network_sees_is_refused(library):
    xp = pytest.importorskip(library)
    params = {"w": xp.asarray(np.linspace(-1, 1, 3), dtype="float32")}
    source = dntk.points(TEXTS, collate=padded_text)
    blind = dntk.as_model(sums_and_means(xp, masked=False), params)
    with pytest.raises(ValueError, match=r"for point 0 of `x1` depend on how much `collate` pads it: .*mask"):
        dntk.ntk(blind, source)
    kernel = dntk.ntk(dntk.as_model(sums_and_means(xp, masked=True), params), source)
    assert kernel.shape == (4, 4)


def test_padding_to_one_length_is_no_fault():
    anp = pytest.importorskip("autograd.numpy")
    model = dntk.as_model(sums_and_means(anp, masked=False), {"w": np.linspace(-1, 1, 3).astype("f4")})
    source = dntk.points(TEXTS, collate=lambda texts: padded_text([*texts, [0] * 6])[:-1])
    assert dntk.ntk(model, source).shape == (4, 4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "scipy", "numpy"])
def test_tables_are_no_sources_and_are_told_what_to_pass(library):
    model, rows = mlp(NUMPY), host(inputs(NUMPY, 6))
    for x in tables(library, rows):
        for call in (model, lambda x: dntk.ntk(model, x), lambda x: dntk.DistilledNTK(model).fit(x)):
            with pytest.raises(TypeError, match=r"to_numpy|toarray|numpy\.asarray\(x"):
                call(x)
        with pytest.raises(TypeError, match="is no source of points"):
            dntk.points(x)


def tables(library, rows):
    """Tables and columns of a library."""
    made = pytest.importorskip(library)
    if library == "numpy":
        return [np.asmatrix(rows)]
    if library == "scipy":
        return [pytest.importorskip("scipy.sparse").csr_array(rows)]
    if library == "pyarrow":
        column = made.array(rows[:, 0])
        return [made.table({"a": column}), column, made.chunked_array([column])]
    if library == "polars":
        return [made.DataFrame(rows), made.Series(rows[:, 0]), made.DataFrame(rows).lazy()]
    return [made.DataFrame(rows), made.Series(rows[:, 0]), made.array(rows[:, 0]), made.Index(rows[:, 0])]


def test_a_memory_map_of_another_library_is_told_to_be_a_source(tmp_path):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped, model = np.load(tmp_path / "x.npy", mmap_mode="r"), dntk.as_model(torch.nn.Linear(4, 2).eval())
    with pytest.raises(TypeError, match=r"pass dntk\.points\(x1\)"):
        dntk.ntk(model, mapped)
    assert torch.equal(dntk.ntk(model, dntk.points(mapped)), dntk.ntk(model, torch.as_tensor(x)))
