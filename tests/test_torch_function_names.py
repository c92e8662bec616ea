"""Names of PyTorch's functions, beside those that PyTorch itself gives."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402
from torch.overrides import get_overridable_functions, resolve_name  # noqa: E402

from dntk_torch._function_names import function_name  # noqa: E402


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functional.linear, "torch.nn.functional.linear"),
        (functional.max_pool2d, "torch.nn.functional.max_pool2d"),
        (torch.matmul, "torch.matmul"),
        (torch.split, "torch.split"),
        (torch.linalg.inv, "torch.linalg.inv"),
        (torch.Tensor.__add__, "torch.Tensor.__add__"),
        (torch.Tensor.T.__get__, "torch.Tensor.T.__get__"),
        (print, "<built-in function print>"),
    ],
)
def test_functions_are_called_what_users_call_them(function, name):
    assert function_name(function) == name


@pytest.mark.filterwarnings("ignore")
def test_functions_that_modes_see_have_the_names_of_pytorch():
    functions = [function for owned in get_overridable_functions().values() for function in owned]
    assert len(functions) > 1000
    other = {
        (function_name(function), str(resolve_name(function)))
        for function in functions
        if function_name(function).rpartition(".")[2] != str(resolve_name(function)).rpartition(".")[2]
    }
    # What has two names may be called by either.
    assert all(ours.startswith("torch.") for ours, _ in other), other
    assert len(other) < 0.05 * len(functions)
