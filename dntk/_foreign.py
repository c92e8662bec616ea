"""What to call where an array was expected and something else came: data frames, containers, other kinds of arrays."""

import sys
from typing import Any

from dntk._checks import kind_of


def require_plain_array(name: str, value: Any, library: str = "") -> None:
    """Raise unless ``value`` is an array with entries, all of them there, in a plain layout.

    ``library`` is that of the model, where one is known: what to convert other things with.

    Raises
    ------
    TypeError
        It is none, with what to call: of a data frame, a list, a dictionary, a loader, a masked or sparse array.
    ValueError
        Products of it would be rounded to 16 bits, as within PyTorch's autocast.
    """
    remedy = _remedy(name, value, library)
    if remedy:
        msg = f"`{name}` is {_kind_with_layout(value)}: {remedy}."
        raise TypeError(msg)
    kind = str(getattr(value, "dtype", ""))
    if kind == "object" or kind[:2] in ("<U", "|S", ">U") or "datetime" in kind or "timedelta" in kind:
        msg = f"`{name}` has dtype {kind}: pass an array of numbers, all rows of one length."
        raise TypeError(msg)
    require_exact_products(value)


def require_one_split(name: str, value: Any) -> None:
    """Raise ``TypeError`` of a Hugging Face mapping of splits, which is no batch of data sets: one is to be chosen."""
    if type(value).__name__ in ("DatasetDict", "IterableDatasetDict") and value:
        first = next(iter(value))
        splits = ", ".join(repr(split) for split in value)
        msg = f"`{name}` is {kind_of(value)} of the splits {splits}: choose one of them, {name}[{first!r}]."
        raise TypeError(msg)


def require_exact_products(value: Any) -> None:
    """Raise ``ValueError`` where the library of an array now rounds products of it to 16 bits.

    Nothing shows it: kernels of float32 features stay float32, and are wrong by 2e-3. Only PyTorch has such a switch.
    """
    if type(value).__module__.partition(".")[0] != "torch":
        return
    torch, kind = sys.modules["torch"], value.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        msg = (
            "torch.autocast is on, which would round products of arrays to 16 bits: call dntk outside of it, or "
            f"within torch.autocast({kind!r}, enabled=False)."
        )
        raise ValueError(msg)


def _remedy(name: str, value: Any, library: str) -> str:
    """What to do about it; empty for an array."""
    if value is None:
        return "pass an array with one point per row"
    if isinstance(value, type) or callable(value):
        return "pass an array with one point per row"
    root, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if (root, kind) in (("zarr", "Array"), ("zarr", "AsyncArray"), ("h5py", "Dataset")):
        return f"convert it to one array first, {converted(f'{name}[:]', library)}"
    if any(base.__name__ == "IterableDataset" for base in type(value).__mro__):
        return f"it can be read only once: collect its points first, list({name})"
    if isinstance(value, memoryview):
        inner = name if library in ("", "numpy") else f"numpy.asarray({name})"
        return f"convert it to one array first, {converted(inner, library)}"
    known = _BY_KIND.get((root, kind)) or _BY_ROOT.get(root)
    if known and not hasattr(value, "__array_namespace__"):
        return known.format(name=name)
    if root in ("numpy", "torch"):
        return _of_layout(name, value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return ""
    convert = converted(name, library)
    if isinstance(value, dict) or hasattr(value, "keys"):
        return f"pass one of its arrays, {name}['...']"
    if isinstance(value, list | tuple | range | set) or hasattr(value, "__array__"):
        return f"convert it to one array first, {convert}"
    if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        return f"it can be read only once: make one array of it first, {convert}"
    return "pass an array with one point per row"


def converted(name: str, library: str) -> str:
    """How a library writes that it makes an array of what has this name."""
    known = _CONVERT.get(library or "numpy", f"{library}.asarray({{name}})")
    return known.format(name=name)


def _kind_with_layout(value: Any) -> str:
    """What a value is, in words, with the layout of tensors of PyTorch that are not plain."""
    words = kind_of(value)
    if not words.startswith("a torch ") or not hasattr(value, "layout"):
        return words
    nested, quantized = getattr(value, "is_nested", False), getattr(value, "is_quantized", False)
    return words.replace("a ", f"a {'nested' if nested else 'quantized' if quantized else 'sparse'} ", 1)


def _of_layout(name: str, value: Any) -> str:
    """The same of subclasses of NumPy's arrays and of layouts of PyTorch's that are no plain arrays."""
    kind = type(value).__name__
    if kind in ("MaskedArray", "MaskedConstant", "MaskedRecords"):
        return f"fill what is masked, {name}.filled(0.0), or leave those rows out"
    if kind == "matrix":
        return f"pass a plain array, numpy.asarray({name})"
    if kind == "recarray" or getattr(getattr(value, "dtype", None), "names", None):
        return f"pass a plain array of its columns, numpy.stack([{name}[c] for c in {name}.dtype.names], axis=1)"
    if getattr(value, "is_nested", False):
        return f"pad it, {name}.to_padded_tensor(0.0), for a network that ignores padding"
    if str(getattr(value, "layout", "torch.strided")) != "torch.strided":
        return f"make it dense, {name}.to_dense()"
    if getattr(value, "is_quantized", False):
        return f"pass real numbers, {name}.dequantize()"
    if kind in ("generic", "Generator") or not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return "pass an array with one point per row"
    return ""


_CONVERT = {
    "numpy": "numpy.asarray({name}, dtype=numpy.float32)",
    "torch": "torch.as_tensor({name})",
    "jax": "jax.numpy.asarray({name})",
    "cupy": "cupy.asarray({name})",
}

_BY_KIND = {
    ("pandas", "DataFrame"): "pass its values, {name}.to_numpy(dtype='float32')",
    ("pandas", "Series"): "pass its values, {name}.to_numpy()",
    ("pandas", "Index"): "pass its values, {name}.to_numpy()",
    ("polars", "DataFrame"): "pass its values, {name}.to_numpy()",
    ("polars", "Series"): "pass its values, {name}.to_numpy()",
    ("polars", "LazyFrame"): "pass its values, {name}.collect().to_numpy()",
    ("pyarrow", "Table"): "pass its values, {name}.to_pandas().to_numpy()",
    ("xarray", "DataArray"): "pass its values, {name}.values",
    ("sklearn", "Bunch"): "pass its array, {name}.data; labels are {name}.target",
    ("datasets", "Dataset"): "pass one column as an array, {name}.with_format('numpy')['...']",
    ("datasets", "DatasetDict"): "pick a split, {name}['train'], and a column of it as an array",
    ("transformers", "BatchEncoding"): "pass one of its arrays, {name}['input_ids'], made with return_tensors",
    ("transformers", "BatchFeature"): "pass one of its arrays, {name}['pixel_values'], made with return_tensors",
    ("torch", "DataLoader"): "put its batches together first, torch.cat([batch[0] for batch in {name}])",
    ("torch", "TensorDataset"): "pass its inputs, {name}.tensors[0]; labels are {name}.tensors[1]",
    ("torch", "Subset"): "put its examples together first, torch.stack([example[0] for example in {name}])",
    ("torch", "PackedSequence"): "pad it first, torch.nn.utils.rnn.pad_packed_sequence({name}, batch_first=True)[0]",
}

_BY_ROOT = {
    "scipy": "make it dense, {name}.toarray()",
    "pandas": "pass its values, {name}.to_numpy()",
    "polars": "pass its values, {name}.to_numpy()",
    "pyarrow": "pass its values, {name}.to_numpy()",
    "tensorflow": "pass its values, {name}.numpy()",
}
