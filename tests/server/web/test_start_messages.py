"""What the commands that serve say of the page when they start (O4)."""

from __future__ import annotations

import pytest

from tests.kit import ServerProcess

pytestmark = [pytest.mark.requirement("O4")]

MODEL = '[[model]]\nname = "demo"\nprovider = "demo"\n'


def started(server: ServerProcess) -> str:
    """Return what `server` has written when it is stopped."""
    with server:
        pass
    assert server.exit_code == 0
    return server.log


def test_the_demo_names_the_page_first() -> None:
    server = ServerProcess(args=["demo"], env={"CHORUS_LOG": "error"})
    log = started(server)
    assert f"\n  {server.base}/ui/\n" in log
    assert log.index("/ui/") < log.index("/v1/")


def test_serve_names_the_page_where_it_is_served() -> None:
    served, switched_off = ServerProcess(MODEL), ServerProcess(f"[server]\nui = false\n{MODEL}")
    assert f"{served.base}/ui/" in started(served)
    assert "/ui/" not in started(switched_off)
