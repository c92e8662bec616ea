"""What parameters, inputs, cotangents and tangents must be, said clearly where they are not."""

from collections.abc import Mapping

from dntk import arrays
from dntk.models.adapter._framework import Framework
from dntk.models.base import Model, check_placement
from dntk.models.nests import is_array, is_nest, leaves
from dntk.types import Array, Batch


def require_parameters(every: Mapping[str, Array], selected: list[str], framework: Framework) -> None:
    """Raise unless the ``selected`` parameters are floating point of one dtype, and ``every`` one on one device.

    Raises
    ------
    TypeError
        A selected parameter is not real floating point.
    ValueError
        They have several dtypes or devices.
    """
    for name in selected:
        arrays.require_floating(f"the parameter {name}", every[name])
    devices = {str(arrays.device_of(value)) for value in every.values()}
    dtypes = {str(every[name].dtype) for name in selected}
    owner = "the parameters" if framework.network == "function" else f"the {framework.network}'s parameters"
    if len(devices) > 1:
        msg = f"{owner} lie on several devices ({', '.join(sorted(devices))}): {framework.one_device}."
        raise ValueError(msg)
    if len(dtypes) > 1:
        msg = f"{owner} have several dtypes ({', '.join(sorted(dtypes))}): {framework.one_dtype}."
        raise ValueError(msg)


def require_input(x: Batch, model: Model, name: str, *, convert: str = "", kinds: tuple[str, ...] = ()) -> None:
    """Raise unless ``x`` is a finite array of the model's namespace, device and dtype, or of other allowed ``kinds``.

    The arrays of a nest may also hold integers and truth values, as ids and masks do.

    ``convert`` says how it is given the right dtype, as in :class:`Framework`; ``kinds`` are those of the array API.

    Raises
    ------
    TypeError
        ``x`` is of another library or dtype.
    ValueError
        It is on another device, empty or not finite.
    """
    check_placement(x, model, name)
    allowed = kinds if is_array(x) else ("integral", "bool")
    for part_name, part in leaves(x, name):
        if not allowed or not model.namespace.isdtype(part.dtype, allowed):
            _require_dtype(part, model, part_name, convert)


def require_array(x: Batch, name: str) -> None:
    """Raise ``TypeError`` where ``x`` is a nest, for networks that take one array."""
    if is_nest(x):
        msg = (
            f"`{name}` is a {type(x).__name__}, but the network takes one array: pass the array alone, of a data set "
            "with labels by dntk.points(data, collate=...) that leaves them out."
        )
        raise TypeError(msg)


def _require_dtype(x: Array, model: Model, name: str, convert: str) -> None:
    arrays.require_floating(name, x)
    if x.dtype != model.dtype:
        bare = str(model.dtype).rpartition(".")[2]
        remedy = convert.format(name=name, dtype=model.dtype) or f"it with {arrays.cast(name, x, bare)}"
        msg = f"`{name}` has dtype {x.dtype}, but the parameters have {model.dtype}: convert {remedy}."
        raise TypeError(msg)


def require_shape(name: str, value: Array, columns: int, what: str, *, rows: int | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` has one column per ``what``, and ``rows`` rows where that is said."""
    if value.ndim != 2 or value.shape[1] != columns or (rows is not None and value.shape[0] != rows):
        first = "q" if rows is None else rows
        msg = f"`{name}` has shape {tuple(value.shape)}, expected ({first}, {columns}): one column per {what}."
        raise ValueError(msg)
