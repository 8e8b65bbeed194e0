"""The load balancer of the kit."""

from __future__ import annotations

import httpx

from tests.kit import ScriptedUpstream
from tests.kit.balancer import Balancer


def get(base: str) -> int:
    with httpx.Client(verify=False, trust_env=False) as client:
        return client.get(f"{base}/v1/models").status_code


def test_it_takes_turns() -> None:
    with (
        ScriptedUpstream.in_thread() as one,
        ScriptedUpstream.in_thread() as two,
        Balancer.in_thread(one.port, two.port) as balancer,
    ):
        assert [get(balancer.base) for _ in range(4)] == [200] * 4
        assert balancer.connections == {one.port: 2, two.port: 2}


def test_it_passes_over_who_refuses() -> None:
    with ScriptedUpstream.in_thread() as gone:
        port = gone.port
    with ScriptedUpstream.in_thread() as well, Balancer.in_thread(port, well.port) as balancer:
        assert [get(balancer.base) for _ in range(3)] == [200] * 3
        assert balancer.connections == {port: 0, well.port: 3}
