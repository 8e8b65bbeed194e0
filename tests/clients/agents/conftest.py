"""One server for all agents, between a recording proxy and a scripted upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import ScriptedUpstream, ServerProcess

from .recording import RecordingProxy
from .task import Desk, config


@pytest.fixture(scope="package")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


@pytest.fixture(scope="package")
def server(upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
    with ServerProcess(config(upstream.base), env={"CHORUS_LOG": "error"}) as process:
        yield process


@pytest.fixture(scope="package")
def proxy(server: ServerProcess) -> Iterator[RecordingProxy]:
    with RecordingProxy.in_thread(server.base) as recording:
        yield recording


@pytest.fixture
def desk(proxy: RecordingProxy, upstream: ScriptedUpstream, tmp_path: Path) -> Desk:
    return Desk(tmp_path, proxy, upstream)
