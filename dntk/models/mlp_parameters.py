"""Names of the parameters of a multilayer perceptron."""

from dntk.types import Array


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


def numbered(name: str, values: tuple[Array | None, ...]) -> dict[str, Array]:
    """Named parameters; absent biases are omitted."""
    return {f"{name}.{i}": v for i, v in enumerate(values) if v is not None}
