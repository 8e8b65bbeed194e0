"""Where a server keeps what outlives a request, and a store that it cannot use (M2)."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from chorus.auth.budget import KeyBudget
from chorus.auth.keys import KeyFile
from chorus.storage.migrations import APPLICATION_ID
from tests.kit import ServerProcess, free_port
from tests.kit.command import process
from tests.kit.programs import RedisServer

pytestmark = pytest.mark.requirement("M2")

CONFIG = """
{storage}
[[model]]
name = "demo-abacus"
provider = "demo"
"""
STORED = {"model": "demo-abacus", "input": "What is 2 + 2?"}


def config(url: str = "") -> str:
    return CONFIG.format(storage=f'[storage]\nurl = "{url}"' if url else "")


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE later (id)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 999")
    connection.close()


def test_a_response_outlives_the_server_in_a_file_of_its_users_data_folder(tmp_path: Path) -> None:
    env = {"XDG_DATA_HOME": str(tmp_path / "with space")}
    with ServerProcess(config(), env=env) as server:
        made = httpx.post(f"{server.base}/v1/responses", json=STORED).json()
    with ServerProcess(config(), env=env) as server:
        kept = httpx.get(f"{server.base}/v1/responses/{made['id']}").json()
        assert kept["output"] == made["output"]
    file = tmp_path / "with space" / "chorus" / "chorus.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_demo_and_a_server_in_memory_write_no_file(tmp_path: Path) -> None:
    env = {"XDG_DATA_HOME": str(tmp_path)}
    for server in (ServerProcess(args=["demo"], env=env), ServerProcess(config("memory:"), env=env)):
        with server:
            made = httpx.post(f"{server.base}/v1/responses", json=STORED).json()
            assert httpx.get(f"{server.base}/v1/responses/{made['id']}").status_code == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("spoilt", "sentence"),
    [
        (newer, "The database file has schema 999, and this version of Chorus knows"),
        (lambda path: path.write_bytes(b"no database" * 1000), "The database file is damaged, or no SQLite database"),
        (Path.mkdir, "The database file of [storage] url cannot be opened"),
    ],
)
def test_a_file_that_can_never_be_used_stops_the_start(
    tmp_path: Path, spoilt: Callable[[Path], object], sentence: str, workers: str
) -> None:
    file = tmp_path / "chorus.db"
    spoilt(file)
    written = tmp_path / "config.toml"
    written.write_text(config(f"sqlite:///{file}"))
    done = process("serve", "--config", str(written), "--port", str(free_port()), "--workers", workers, home=tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "[storage] url" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_user_without_a_data_folder_has_a_server_that_remembers_nothing_and_says_so(
    tmp_path: Path, workers: str
) -> None:
    (tmp_path / "file").touch()
    # no folder can be made below a file, not even by root
    env = {"XDG_DATA_HOME": str(tmp_path / "file")}
    written = tmp_path / "config.toml"
    written.write_text(config())
    with ServerProcess(args=["serve", "--config", str(written), "--workers", workers], env=env) as server:
        assert httpx.post(f"{server.base}/v1/responses", json=STORED).status_code == 200
        assert server.log.count("nothing outlives this server") == 1
        assert "[storage] url" in server.log


def test_a_redis_that_is_away_stops_no_start() -> None:
    away = RedisServer()
    with ServerProcess(config(away.url)) as server, httpx.Client(base_url=server.base) as client:
        assert client.post("/v1/responses", json=STORED).status_code == 200
        lost = client.get(f"/v1/responses/resp_{'0' * 24}")
        assert (lost.status_code, lost.json()["error"]["code"]) == (503, "storage_unavailable")
    assert server.exit_code == 0


@pytest.mark.requirement("M6")
def test_a_server_names_the_models_that_spend_no_budget(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    KeyFile(keys).create("laptop", role="client", models=(), expires=None, budget=KeyBudget(10, "month"))
    text = f'[server]\nrequire_auth = true\nkeys_file = "{keys}"\n[[model]]\nname = "glm"\n'
    with ServerProcess(text + 'api_base = "http://127.0.0.1:9/v1"\n') as server:
        pass
    assert "these models have no price, and spend no budget of a key (laptop): glm" in server.log
