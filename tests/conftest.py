"""What holds for every test."""

import functools
import gc
import logging
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import certifi
import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.kit.forks import pytest_addoption, pytest_runtestloop

__all__ = ["pytest_addoption", "pytest_runtestloop"]

# Compiled tests are kept, and compiled modules of the processes that the tests start: without them,
# the collection takes twice as long, 27 s of CPU instead of 13 s.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Nothing that the collection makes is garbage, as `pytest_collection_finish` says: to look for some
# takes a fifth of its time.
gc.disable()

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all programs
# that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# texts are tested in English, whatever the language of the developer
os.environ["CHORUS_LANG"] = "en"

# Its limits are on wall time, which a busy machine has little of: in a fresh clone the first draw
# alone builds a table of all of Unicode. What is slow shows in the time of the whole suite. A
# quarter of the examples by default: they are others in each run.
settings.register_profile("chorus", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("chorus"), max_examples=10)
settings.load_profile("chorus")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: half as many again as there are cores, since tests wait for processes, sockets and
    time limits more than they compute.
    """
    return max(2, (os.cpu_count() or 1) * 3 // 2)


# structlog's own way to print a traceback, by rich with all local variables, takes up to a second
# for each.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

_configure_log = structlog.configure


def _configure_log_without_cache(**options: Any) -> None:
    """Set structlog up, and keep no logger: a kept one holds its settings for good.

    A command that runs in the tests' process sets the log up for itself; the loggers that it uses
    would say nothing to `capture_logs` in the tests after it.
    """
    _configure_log(**{**options, "cache_logger_on_first_use": False})


structlog.configure = _configure_log_without_cache


_LOG = structlog.get_config()


def _reset_log() -> None:
    """Set the log of this process up as each test is to find it."""
    if structlog.get_config() != _LOG:
        structlog.configure(**_LOG)
    root = logging.getLogger()
    root.handlers.clear()  # the SDK of MCP adds one, too
    root.setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo what a test, or a fixture of its module, has changed of the log of this process."""
    _reset_log()
    yield
    _reset_log()


HEAVY = (
    "tests/faults/test_replicas.py",
    "tests/scripts/test_scripts.py",
    "tests/clients/test_foreign.py",
    "tests/inference/test_engines.py",
    "tests/faults/test_soak.py",
    "tests/faults/test_processes.py",
    "tests/inference/test_consul.py",
    "tests/clients/agents/test_codex.py",
)
"""The files that take longest, by waiting or by computing.

They begin first, so that none of them runs alone at the end.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Hand out the files in our order, where pytest-xdist does it.

    It would sort them by their numbers of tests: the longest last, and those that share a server
    apart, so that it is started again for each.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the heavy files first, then faults, which wait; the others keep the order of their
    folders.
    """
    places = {name: place for place, name in enumerate(HEAVY)}

    def place(item: pytest.Item) -> int:
        name = item.nodeid.partition("::")[0]
        return places.get(name, len(HEAVY) + (not name.startswith("tests/faults/")))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from a million objects of the collected tests, which stay until
    the end.
    """
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def data_stays_out_of_the_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give servers that inherit our environment a data folder of their own: `serve` makes a
    database there.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """Give all HTTP clients of the tests one TLS context.

    Each would read the list of certificates for itself, certifi's or the one that SSL_CERT_FILE
    names, which takes 30 ms to 70 ms of CPU; the tests make thousands of clients, few of which
    speak TLS.
    """
    make = ssl.create_default_context
    shared = {path: functools.cache(functools.partial(make, cafile=path)) for path in _certificates()}

    def create(*args: Any, **options: Any) -> ssl.SSLContext:
        known = shared.get(options.get("cafile")) if options.keys() == {"cafile"} and not args else None
        return make(*args, **options) if known is None else known()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", create)
        yield


def _certificates() -> list[str]:
    """The files of certificates that clients read by default."""
    return [certifi.where(), *filter(None, [os.environ.get("SSL_CERT_FILE")])]
