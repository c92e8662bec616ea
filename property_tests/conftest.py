"""Profiles of Hypothesis and the array libraries; shape checks of dntk are on, but in the long profile.

They take half of its time, and every run of the tests has them; without them the library is what users have.
"""

import os
from typing import Any

from tests import jax_settings

os.environ.setdefault("DNTK_CHECK", "0" if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else "1")
os.environ.update({**jax_settings.SETTINGS, **os.environ})

import hypothesis
import pytest

from property_tests.strategies import cases_run
from tests.libraries import LIBRARIES, Library

_COMMON = {
    "deadline": None,
    "suppress_health_check": [
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
        hypothesis.HealthCheck.filter_too_much,
    ],
}
hypothesis.settings.register_profile("ci", derandomize=True, max_examples=24, **_COMMON)
hypothesis.settings.register_profile("fuzz", max_examples=int(os.environ.get("DNTK_FUZZ_EXAMPLES", "740")), **_COMMON)
# A mutant has to fail, not to fail in the shortest way.
_FIRST = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
hypothesis.settings.register_profile("mutants", derandomize=True, max_examples=40, phases=_FIRST, **_COMMON)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Workers of pytest-xdist hand over how many cases they ran."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["cases"] = dict(cases_run)


class _Workers:
    """Collects what workers ran; known to pytest only where pytest-xdist is."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        cases_run.update(getattr(node, "workeroutput", {}).get("cases", {}))


def pytest_configure(config: pytest.Config) -> None:
    """Register the collector."""
    config.pluginmanager.register(_Workers())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many cases of ``for_libraries`` each library has seen."""
    if cases_run:
        terminalreporter.write_sep("-", "generated cases")
        terminalreporter.write_line(", ".join(f"{name}: {count:,}" for name, count in sorted(cases_run.items())))


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request: pytest.FixtureRequest) -> Library:
    """One array library on one device; skipped where it is not installed."""
    chosen: Library = request.param
    reason = chosen.why_not()
    if reason:
        pytest.skip(reason)
    return chosen
