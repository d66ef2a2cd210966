"""Fixtures every room may use; servers and hosts are in `support/`."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.pop("DATABOM_TRUST", None)

# How long an example takes says how busy the machine is, and nothing about what is tested. What is a gate tries the
# same examples each time; `./check search` looks for new ones, ten times as many.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("search", settings.get_profile("house"), derandomize=False, max_examples=1000)
settings.load_profile("search" if os.environ.get("DATABOM_SEARCH") else "house")

pytest_plugins = ["support.fixtures_r2", "support.house", "support.mounts", "support.payments"]


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the tests' machine remembers is nobody else's."""
    os.environ["DATABOM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


_SERVED = ("s3", "dvc", "mlflow", "slow")
"""Markers of tests that run servers and other programs, which a busy machine may starve for longer than they bear."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give such a test a second and a third try, which the summary counts; a test of our own code has one."""
    for item in items:
        if any(item.get_closest_marker(name) for name in _SERVED):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))
