"""`chorus check` and `chorus models` say what discovery knows (D2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from tests.kit.command import process
from tests.kit.consul import FakeConsul
from tests.kit.ports import free_port

pytestmark = pytest.mark.requirement("D2")


async def run(command: str, path: Path) -> str:
    done = await run_sync(lambda: process(command, "--config", str(path), home=path.parent))
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


async def test_check_asks_each_source_once(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    async with FakeConsul(token="right") as consul:
        for port in range(1, 8):
            consul.add("llm-glm", "127.0.0.1", port)
        away = free_port()
        discovery = [
            f"address = '{consul.address}', token = 'right'",
            f"address = '{consul.address}', token = 'right', service = 'llm-none'",
            f"address = '{consul.address}'",
            f"address = 'http://127.0.0.1:{away}'",
        ]
        names = ["glm", "none", "refused", "away"]
        path.write_text(
            "".join(
                f"[[model]]\nname = '{name}'\ndiscovery = {{ type = 'consul', {keys} }}\n"
                for name, keys in zip(names, discovery, strict=True)
            )
        )
        said = await run("check", path)
        at = f"at {consul.address}"
        places = ", ".join(f"127.0.0.1:{port}" for port in range(1, 6))
        assert f"  glm: consul service llm-glm {at}: 7 instances ({places} and 2 more)\n" in said
        assert f"  none: consul service llm-none {at}: 0 instances\n" in said
        assert f"  refused: consul service llm-refused {at}: no answer; Consul {at} refuses" in said
        assert "  away: consul service llm-away at " in said
        assert "cannot be reached" in said
        assert f"glm      model        1 call  found by consul service llm-glm {at}" in await run("models", path)
