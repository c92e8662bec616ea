"""How arrays of array-api-strict give their namespace in tests: without setting the module's flags anew each time.

Asked for no version, an array sets the flags to what they are, sorts the module's names and checks every extension:
a tenth of the property tests on this library. All other strictness is untouched.
"""

import importlib.util
from types import ModuleType
from typing import Any


def keep_flags() -> None:
    """Let arrays of array-api-strict, where it is installed, answer at once when no version is asked for."""
    if importlib.util.find_spec("array_api_strict") is None:
        return
    import array_api_strict

    cls = type(array_api_strict.asarray(0.0))
    if hasattr(cls.__array_namespace__, "__wrapped__"):
        return
    with_flags = cls.__array_namespace__

    def namespace(self: Any, /, *, api_version: str | None = None) -> ModuleType:
        return array_api_strict if api_version is None else with_flags(self, api_version=api_version)

    namespace.__wrapped__ = with_flags  # type: ignore[attr-defined]
    cls.__array_namespace__ = namespace
