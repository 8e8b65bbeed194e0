"""One server of Chorus for each kind of upstream, behind one recording proxy for all agents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import ScriptedUpstream, ServerProcess

from .recording import RecordingProxy
from .task import Desk, config
from .upstreams import KINDS, AgentUpstream, upstream_of

# `make test` runs the tests without that mark: Codex before two kinds of upstream
PARAMS = [pytest.param(kind, marks=pytest.mark.agents if kind == "anthropic" else ()) for kind in KINDS]


@pytest.fixture(scope="package", params=PARAMS)
def upstream(request: pytest.FixtureRequest) -> Iterator[AgentUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield upstream_of(request.param, scripted)


@pytest.fixture(scope="package")
def server(upstream: AgentUpstream) -> Iterator[ServerProcess]:
    with ServerProcess(config(upstream), env={"CHORUS_LOG": "error"}) as process:
        yield process


@pytest.fixture(scope="package")
def proxy() -> Iterator[RecordingProxy]:
    """One for all kinds: an agent that keeps running has one address for Chorus."""
    with RecordingProxy.in_thread() as recording:
        yield recording


@pytest.fixture
def desk(proxy: RecordingProxy, server: ServerProcess, upstream: AgentUpstream, tmp_path: Path) -> Desk:
    proxy.turn_to(server.base)
    return Desk(tmp_path, proxy, upstream)
