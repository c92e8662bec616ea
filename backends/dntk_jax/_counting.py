"""Operations of a traced program, from the shapes of its products: two per multiply-add."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

from dntk_jax.behaviour import inner_programs


def operations_of(function: Callable[..., Any], *arguments: Any) -> int:
    """Operations of the products and convolutions in a function's program for arguments like these; nothing is run."""
    return _operations(jax.make_jaxpr(function)(*arguments).jaxpr)


def _operations(program: Any) -> int:
    """Of all equations whose results are used; a loop of unknown length is taken for one round."""
    used = {id(value) for value in program.outvars}
    total = 0
    for equation in reversed(program.eqns):
        if equation.effects or any(id(value) in used for value in equation.outvars):
            used |= {id(value) for value in equation.invars if not isinstance(value, core.Literal)}
            total += _of_equation(equation)
    return total


def _of_equation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        ((contracted, _), _), left = parameters["dimension_numbers"], equation.invars[0].aval
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left.shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    if name == "cond":
        return max(_operations(branch.jaxpr) for branch in parameters["branches"])
    inner = sum(_operations(getattr(program, "jaxpr", program)) for program in inner_programs(equation))
    return inner * (parameters["length"] if name == "scan" else 1)


def _of_convolution(equation: Any) -> int:
    """Products of the kernel with every place of the result; zeros that a dilation puts in are not multiplied."""
    kernel, result = equation.invars[1].aval, equation.outvars[0].aval
    features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    dilation = math.prod(equation.params["lhs_dilation"])
    return 2 * math.prod(result.shape) * math.prod(kernel.shape) // (features * dilation)
