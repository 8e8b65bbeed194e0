"""Fixtures that several folders of tests have: their `conftest.py` imports them.

An upstream is shared by the tests of a package, and a server with it, since each takes a second to
start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from tests.kit.server import ServerProcess
from tests.kit.upstream import ScriptedUpstream


@pytest.fixture(scope="package")
def upstream() -> Iterator[ScriptedUpstream]:
    """The scripted upstream of a package.

    A folder's own fixture `scripted` says how its models behave.
    """
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


def serving(config: Callable[[ScriptedUpstream], str], log: str = "error") -> Callable[..., Iterator[ServerProcess]]:
    """Return the fixture of a package's server: a process with the configuration that `config`
    writes for the upstream.
    """

    @pytest.fixture(scope="package")
    def server(upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
        with ServerProcess(config(upstream), env={"CHORUS_LOG": log}) as process:
            yield process

    return server


def connected(base: str) -> httpx.AsyncClient:
    """A client of `base`.

    Nothing here speaks TLS or needs a proxy; to read all certificates takes longer than most tests.
    """
    return httpx.AsyncClient(base_url=base, timeout=10, verify=False, trust_env=False)


@pytest.fixture
async def client(server: ServerProcess, scripted: ScriptedUpstream) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the package's server, with every model of its upstream well."""
    async with connected(server.base) as client:
        yield client


@pytest.fixture(scope="module")
def demo() -> Iterator[ServerProcess]:
    """`chorus demo` as a process."""
    with ServerProcess(args=["demo"], env={"CHORUS_LOG": "error"}) as server:
        yield server
