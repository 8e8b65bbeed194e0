"""What holds for every test."""

import functools
import os
import ssl
from collections.abc import Iterator
from typing import Any

import certifi
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


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """Give all HTTP clients of the tests one TLS context. Each would read Mozilla's list of certificates for itself, which takes
    30 ms to 70 ms of CPU; the tests make thousands of clients, few of which speak TLS."""
    make = ssl.create_default_context
    shared = functools.cache(functools.partial(make, cafile=certifi.where()))

    def create(*args: Any, **options: Any) -> ssl.SSLContext:
        return shared() if not args and options == {"cafile": certifi.where()} else make(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", create)
        yield
