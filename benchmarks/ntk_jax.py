"""neural-tangents, every implementation, on JAX twins of the networks with the same weights.

The twins are written as that library serves best: weights stored (in, out), channels last, so that its structure rules
apply; ``vmap_axes=0``; compiled before anything is timed. Written for neural-tangents 0.6.5 and 0.6.6 on JAX 0.4.38; it
does not work with newer JAX.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from ntk_networks import N_OUTPUTS, Case
from ntk_peers import MODES, ONE, Peer, Prepare, Problem

Function = Callable[[Any, Any], Any]


def twin(case: Case, net: Any) -> tuple[Function, Any, Callable[[torch.Tensor], Any]]:
    """A case's network as ``f(params, x)``, its parameters, and how inputs are laid out for it."""
    return _TWINS[case.name](net)


def _array(tensor: torch.Tensor) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(tensor.detach().numpy())


def _channels_last(x: torch.Tensor) -> Any:
    return _array(x.permute(0, 2, 3, 1).contiguous())


def _linear(layer: Any) -> tuple[Any, Any]:
    return _array(layer.weight.T.contiguous()), _array(layer.bias)


def _kernel(layer: Any) -> Any:
    return _array(layer.weight.permute(2, 3, 1, 0).contiguous())


def _convolve(x: Any, kernel: Any, stride: int, padding: int) -> Any:
    from jax import lax

    pads = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _max_pool(x: Any, size: int, stride: int, padding: int) -> Any:
    import jax.numpy as jnp
    from jax import lax

    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), pads)


def _mlp(net: Any) -> tuple[Function, Any, Callable[[torch.Tensor], Any]]:
    from jax import nn

    def apply(params: Any, x: Any) -> Any:
        for weight, bias in params[:-1]:
            x = nn.relu(x @ weight + bias)
        weight, bias = params[-1]
        return x @ weight + bias

    return apply, [_linear(net[i]) for i in (0, 2, 4)], _array


def _cnn(net: Any) -> tuple[Function, Any, Callable[[torch.Tensor], Any]]:
    from jax import nn

    def apply(params: Any, x: Any) -> Any:
        for i, (kernel, bias) in enumerate(params[:-1]):
            x = nn.relu(_convolve(x, kernel, 1, 1) + bias)
            x = x if i == 2 else _max_pool(x, 2, 2, 0)
        weight, bias = params[-1]
        return x.reshape(x.shape[0], -1) @ weight + bias

    convolutions = [(_kernel(net[i]), _array(net[i].bias)) for i in (0, 3, 6)]
    # PyTorch flattens channels first.
    weight = net[9].weight.reshape(N_OUTPUTS, 64, 8, 8).permute(2, 3, 1, 0).reshape(-1, N_OUTPUTS)
    return apply, [*convolutions, (_array(weight), _array(net[9].bias))], _channels_last


def _normalised(layer: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Parameters of a batch norm, and its statistics as a shift and a scale."""
    scale = (layer.running_var + layer.eps).rsqrt()
    return (_array(layer.weight), _array(layer.bias)), (_array(layer.running_mean), _array(scale))


def _resnet18(net: Any) -> tuple[Function, Any, Callable[[torch.Tensor], Any]]:
    from jax import nn

    params: list[Any] = []
    plan: list[tuple[int, int, tuple[Any, Any]]] = []

    def add(convolution: Any, norm: Any) -> None:
        affine, statistics = _normalised(norm)
        params.append((_kernel(convolution), affine))
        plan.append((convolution.stride[0], convolution.padding[0], statistics))

    add(net[0], net[1])
    blocks = list(net)[4:12]
    for block in blocks:
        add(block.conv1, block.bn1)
        add(block.conv2, block.bn2)
        if len(list(block.shortcut.parameters())):
            add(*block.shortcut)
    shortcuts = [len(list(block.shortcut.parameters())) > 0 for block in blocks]

    def layer(entry: Any, how: Any, x: Any) -> Any:
        (kernel, (weight, bias)), (stride, padding, (mean, scale)) = entry, how
        return (_convolve(x, kernel, stride, padding) - mean) * scale * weight + bias

    def apply(params: Any, x: Any) -> Any:
        entries = iter(zip(params[:-1], plan, strict=True))
        x = _max_pool(nn.relu(layer(*next(entries), x)), 3, 2, 1)
        for strided in shortcuts:
            y = nn.relu(layer(*next(entries), x))
            y = layer(*next(entries), y)
            x = nn.relu(y + (layer(*next(entries), x) if strided else x))
        weight, bias = params[-1]
        return x.mean((1, 2)) @ weight + bias

    return apply, [*params, _linear(net[14])], _channels_last


_TWINS = {"mlp": _mlp, "cnn": _cnn, "resnet18": _resnet18}


def _composed(apply: Function, mode: str) -> Function:
    """The network followed by the single functional that "sum" and "one" are kernels of."""
    if mode == "sum":
        return lambda params, x: apply(params, x).sum(1, keepdims=True) * N_OUTPUTS**-0.5
    if mode == "one":
        return lambda params, x: apply(params, x)[:, ONE : ONE + 1]
    return apply


# What the library traces over it also divides by the number of: the mean over outputs.
_AXES: dict[str, dict[str, Any]] = {
    "sum": {"trace_axes": (-1,)},
    "one": {"trace_axes": (-1,)},
    "mean": {"trace_axes": (-1,)},
    "each": {"trace_axes": (), "diagonal_axes": (-1,)},
    "full": {"trace_axes": ()},
}


def _neural_tangents(implementation: str, problem: Problem) -> Callable[[], Any]:
    import jax
    import neural_tangents
    import numpy as np

    apply, params, lay_out = twin(problem.case, problem.net)
    kernel = neural_tangents.empirical_ntk_fn(
        _composed(apply, problem.mode),
        vmap_axes=0,
        implementation=neural_tangents.NtkImplementation[implementation],
        **_AXES[problem.mode],
    )
    x = lay_out(problem.x)
    compiled = jax.jit(lambda x, params: kernel(x, None, params)).lower(x, params).compile()

    def work() -> torch.Tensor:
        found = torch.from_numpy(np.array(compiled(x, params).block_until_ready(), copy=False))
        return found.permute(2, 0, 1) if problem.mode == "each" else found

    return work


def _peer(implementation: str) -> Peer:
    prepare: Prepare = functools.partial(_neural_tangents, implementation)
    return Peer(
        name=f"neural-tangents {implementation.lower().replace('_', '-')}",
        prepare=prepare,
        modes=MODES,
        cases=tuple(_TWINS),
        package="neural_tangents",
        requirement="pip install neural-tangents jax==0.4.38 jaxlib==0.4.38",
    )


NEURAL_TANGENTS = tuple(
    _peer(name) for name in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES", "AUTO")
)
