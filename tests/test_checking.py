"""Run-time shape checks: where they apply, when, and that they cost nothing when off."""

import asyncio
import contextlib
import importlib
import os
import subprocess
import sys
import threading

import jaxtyping
import numpy as np
import pytest

import dntk
from dntk._checking import is_checking
from dntk.gradient_blocks import DenseBlock

EXAMPLE = """
import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

from jaxtyping import Float


def double(x: Float[Any, "n k"]) -> Float[Any, "n k"]:
    return x + x


def transposed(x: Float[Any, "n k"]) -> Float[Any, "n k"]:
    return x.T


def same_sizes(x: Float[Any, " n"], y: Float[Any, " n"]) -> int:
    return 0


def nested(x: list[Float[Any, " n"]], y: Float[Any, " n"] | None) -> int:
    return 0


def named(x: "Float[Any, ' n']", y: "Float[Any, ' n']") -> int:
    return 0


def counted(n: int) -> "int":
    return n


def doubled(n: int) -> int:
    return str(n)


def rows(x: Float[Any, "n k"]) -> Iterator[Float[Any, " k"]]:
    yield from x


def scaled(x: Float[Any, " n"], by: float) -> Float[Any, " n"]:
    return x * by


def plain(x):
    return x


class Box:
    def method(self, x: Float[Any, " n"]) -> None:
        pass

    @classmethod
    def of(cls, x: Float[Any, " n"]) -> None:
        pass

    @staticmethod
    def static(x: Float[Any, " n"]) -> None:
        pass

    @property
    def wrong(self) -> int:
        return "text"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    left: Float[Any, " n"]
    right: Float[Any, " n"]
"""
VECTOR, MATRIX = np.ones(3), np.ones((2, 3))


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A module of a third-party backend, imported after dntk."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "dntk_example.py").write_text(EXAMPLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        module = importlib.import_module("dntk_example")
        yield module
        del sys.modules["dntk_example"]


def misuses(module):
    """One wrong call for every kind of callable."""
    return {
        "function": lambda: module.double(VECTOR),
        "result": lambda: module.transposed(MATRIX),
        "two arguments": lambda: module.same_sizes(VECTOR, np.ones(4)),
        "two arguments within others": lambda: module.nested([VECTOR], np.ones(4)),
        "two arguments annotated by text": lambda: module.named(VECTOR, np.ones(4)),
        "number": lambda: module.counted("3"),
        "number without arrays": lambda: module.doubled("3"),
        "result without arrays": lambda: module.doubled(3),
        "dtype": lambda: module.double(MATRIX.astype(np.int64)),
        "method": lambda: module.Box().method(MATRIX),
        "class method": lambda: module.Box.of(MATRIX),
        "static method": lambda: module.Box.static(MATRIX),
        "property": lambda: module.Box().wrong,
        "data class": lambda: module.Pair(left=VECTOR, right=np.ones(4)),
    }


KINDS = list(misuses(None))


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_shapes_and_types_are_errors_while_checking(example, kind):
    with dntk.checking(), pytest.raises(jaxtyping.TypeCheckError):
        misuses(example)[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_checked_otherwise(example, kind):
    with dntk.checking(False):
        misuses(example)[kind]()


def test_right_calls_pass_while_checking(example):
    with dntk.checking():
        np.testing.assert_array_equal(example.double(MATRIX), 2 * MATRIX)
        assert example.same_sizes(VECTOR, VECTOR) == 0
        assert len(list(example.rows(MATRIX))) == 2
        assert example.nested([VECTOR, VECTOR], None) == example.nested([VECTOR], VECTOR) == 0
        np.testing.assert_array_equal(example.scaled(VECTOR, 2), 2)  # an int where a float is asked
        assert example.plain("anything") == "anything"
        assert example.Pair(left=VECTOR, right=VECTOR).left is VECTOR


def test_dntk_itself_is_checked():
    with dntk.checking(), pytest.raises(jaxtyping.TypeCheckError, match="values"):
        DenseBlock(name="b", offset=0, values=MATRIX)
    with dntk.checking(False):
        DenseBlock(name="b", offset=0, values=MATRIX)


def test_names_and_documentation_of_checked_functions_are_kept(example):
    assert example.double.__name__ == "double"
    assert example.double.__module__ == "dntk_example"
    assert dntk.ntk.__doc__.startswith("Exact neural tangent kernel")
    assert dntk.TangentFeatures.n_outputs.__doc__ == "Number C of outputs."


def test_innermost_block_decides_and_the_outer_one_returns():
    with dntk.checking():
        assert is_checking()
        with dntk.checking(False):
            assert not is_checking()
            with dntk.checking():
                assert is_checking()
            assert not is_checking()
        assert is_checking()


def test_block_ends_with_an_exception_too():
    before = is_checking()
    with contextlib.suppress(ZeroDivisionError), dntk.checking(not before):
        1 / 0  # noqa: B018
    assert is_checking() == before


def test_threads_do_not_see_each_others_blocks():
    """A new thread starts from the default, whatever block the starting one is in."""
    seen = {}
    for enabled in (True, False):
        with dntk.checking(enabled):
            thread = threading.Thread(target=lambda: seen.update(inside=is_checking()))
            thread.start()
            thread.join()
        assert seen["inside"] is True  # DNTK_CHECK=1 in these tests


def test_tasks_do_not_see_each_others_blocks():
    async def inside(enabled, turns):
        with dntk.checking(enabled):
            for _ in range(turns):
                await asyncio.sleep(0)
                assert is_checking() == enabled

    async def both():
        await asyncio.gather(inside(True, 5), inside(False, 3))

    asyncio.run(both())


@pytest.mark.parametrize(("value", "expected"), [("1", "refused"), ("0", "passed"), ("", "passed"), (None, "passed")])
def test_environment_variable_switches_checks_on(value, expected):
    program = (
        "import numpy, dntk\n"
        "from dntk.gradient_blocks import DenseBlock\n"
        "try:\n"
        "    DenseBlock(name='b', offset=0, values=numpy.ones((2, 3)))\n"
        "    print('passed')\n"
        "except Exception as error:\n"
        "    print('refused' if type(error).__name__ == 'TypeCheckError' else repr(error))\n"
    )
    environment = {key: v for key, v in os.environ.items() if key != "DNTK_CHECK"}
    environment |= {} if value is None else {"DNTK_CHECK": value}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_checkers_are_imported_at_the_first_checked_call_only():
    program = "import sys, dntk; dntk.sketch.Gaussian(4); print('beartype' in sys.modules)"
    environment = {**os.environ, "DNTK_CHECK": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_is_wrapped_before_the_first_block_and_everything_loaded_is_from_then_on():
    program = """
import sys
import numpy, dntk
from dntk.gradient_blocks import DenseBlock
from dntk import arrays, ntk, sketch, tangent_features
wrapped = lambda value: hasattr(value, "__dntk_checked__")
assert not any(type(finder).__module__ == "dntk._checking" for finder in sys.meta_path)
assert not wrapped(dntk.ntk) and not wrapped(DenseBlock.__init__)
wrong = dict(name="b", offset=0, values=numpy.ones((2, 3)))
DenseBlock(**wrong)
with dntk.checking(False):
    assert not wrapped(dntk.ntk)
with dntk.checking():
    try:
        DenseBlock(**wrong)
    except Exception as error:
        assert type(error).__name__ == "TypeCheckError", error
    else:
        raise AssertionError("not checked")
DenseBlock(**wrong)
assert wrapped(dntk.ntk) and dntk.ntk is dntk.kernels.ntk is sys.modules["dntk.kernels._ntk"].ntk
assert dntk.ntk.__wrapped__ is ntk
assert wrapped(dntk.estimator.fit.Fit.predict)  # loaded after the block
"""
    environment = {**os.environ, "DNTK_CHECK": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
