"""Names, sizes and checks of the parameters of a multilayer perceptron."""

from dntk.types import Array


def check_width(name: str, value: Array, width: int, what: str, rows: int | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` has one column per ``what``, and ``rows`` rows where that is said."""
    if value.ndim != 2 or value.shape[1] != width or (rows is not None and value.shape[0] != rows):
        first = "q" if rows is None else rows
        msg = f"`{name}` has shape {tuple(value.shape)}, expected ({first}, {width}): one column per {what}."
        raise ValueError(msg)


def plus(total: Array | None, term: Array | None) -> Array | None:
    """Sum in which ``None`` stands for zero."""
    if total is None or term is None:
        return term if total is None else total
    return total + term


def layer_number(name: str, layers: int) -> int:
    """Layer of a parameter's name; ``ValueError`` where there is none."""
    known = {f"{kind}.{layer}": layer for layer in range(layers) for kind in ("weights", "biases")}
    if name not in known:
        msg = f"no layer is called {name!r}: the network has weights.0 to weights.{layers - 1}."
        raise ValueError(msg)
    return known[name]


def size_of(value: Array) -> int:
    """Number of entries."""
    size = 1
    for side in value.shape:
        size *= side
    return size


def numbered(name: str, values: tuple[Array | None, ...]) -> dict[str, Array]:
    """Parameters by name, without those that there are not."""
    return {f"{name}.{i}": v for i, v in enumerate(values) if v is not None}
