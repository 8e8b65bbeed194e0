"""One server for all agents, between a recording proxy and a scripted upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import ScriptedUpstream, ServerProcess
from tests.kit.fixtures import serving, upstream

from .recording import RecordingProxy
from .task import Desk, config

__all__ = ["desk", "proxy", "server", "upstream"]


server = serving(lambda upstream: config(upstream.base))


@pytest.fixture(scope="package")
def proxy(server: ServerProcess) -> Iterator[RecordingProxy]:
    with RecordingProxy.in_thread(server.base) as recording:
        yield recording


@pytest.fixture
def desk(proxy: RecordingProxy, upstream: ScriptedUpstream, tmp_path: Path) -> Desk:
    return Desk(tmp_path, proxy, upstream)
