"""Profiles of Hypothesis and the array libraries; shape checks of dntk are on."""

import os

os.environ["DNTK_CHECK"] = "1"

import hypothesis
import pytest

from tests.libraries import LIBRARIES, Library

_COMMON = {
    "deadline": None,
    "suppress_health_check": [
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
        hypothesis.HealthCheck.filter_too_much,
    ],
}
hypothesis.settings.register_profile("ci", derandomize=True, max_examples=40, **_COMMON)
hypothesis.settings.register_profile("fuzz", max_examples=2000, **_COMMON)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request: pytest.FixtureRequest) -> Library:
    """One array library on one device; skipped where it is not installed."""
    chosen: Library = request.param
    reason = chosen.why_not()
    if reason:
        pytest.skip(reason)
    return chosen
