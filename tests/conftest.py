"""What holds for every test."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Its limits are on wall time, which a busy machine has little of: in a fresh clone the first draw alone builds a table of all
# of Unicode. What is slow shows in the time of the whole suite.
settings.register_profile("chorus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chorus")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: half as many again as there are cores, since tests wait for processes, sockets and time limits more than they
    compute."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)
