"""Keys (S1): who may do what, by the table of routes.

Keys are kept as hashes, expire, and can be revoked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from anthropic import Anthropic

from chorus import config as configuration
from chorus.auth.keys import Key, KeyFile, KeyRing
from chorus.errors import ConfigError, InvalidKey
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.stats import StatsFeed
from chorus.server.app import table
from chorus.server.web.page import Page
from chorus.service import Chorus
from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.command import chorus

pytestmark = pytest.mark.requirement("S1")
OPEN = {"/", "/health", "/ready", "/api/version"}
ADMIN = {
    "/metrics",
    "/api/v1/upstreams",
    "/api/v1/workflows",
    "/api/v1/workflows/{id}",
    "/api/v1/workflows/{id}/replay",
    "/api/v1/tunings",
    "/api/v1/tunings/{id}",
}
TURNS: list[Any] = [{"role": "user", "content": "How?"}]


def chorus_keys(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return chorus("keys", *words, "--file", str(path), home=path.parent)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def keys(path: Path) -> dict[str, str]:
    made = {
        "client": chorus_keys(path, "create", "laptop", "--models", "glm, chorus", "--expires", "1d"),
        "admin": chorus_keys(path, "create", "ops", "--admin"),
        "revoked": chorus_keys(path, "create", "lost"),
    }
    KeyFile(path).create("late", role="client", models=(), expires=time.time() - 1)
    found = {name: done.stdout.strip() for name, done in made.items()}
    assert all(text.startswith("sk-chorus-") for text in found.values())
    assert chorus_keys(path, "revoke", KeyFile(path).read()[2].id).returncode == 0
    return found


@pytest.fixture(scope="module")
def guarded(path: Path, keys: dict[str, str]) -> Iterator[ServerProcess]:
    with ScriptedUpstream.in_thread() as upstream:
        for name in ("glm", "kimi"):
            upstream.on(name, Say("fine"))
        entries = "".join(f'[[model]]\nname = "{name}"\napi_base = "{upstream.api_base}"\n' for name in ("glm", "kimi"))
        config = f'[server]\nrequire_auth = true\nkeys_file = "{path}"\n{entries}'
        with ServerProcess(config + '[workflow-integration]\nworkers = ["glm"]\nselector = "glm"\n') as server:
            yield server


def test_every_route_has_its_place_and_a_forgotten_one_is_closed() -> None:
    config = configuration.loads('[[model]]\nname = "m"\nprovider = "demo"\n', environ={})
    chorus = Chorus(config)
    routes = table(chorus, config, BackgroundRuns(chorus), StatsFeed(chorus))
    by_access: dict[str, set[str]] = {}
    for route in routes:
        by_access.setdefault(route.access, set()).add(route.openapi_path)
    assert by_access["open"] == OPEN
    assert {route.access for route in Page().routes()} == {"open"}
    assert by_access["admin"] == ADMIN
    assert type(routes[0]).__dataclass_fields__["access"].default == "admin"


def test_without_a_key_only_the_open_ones_answer(guarded: ServerProcess) -> None:
    with httpx.Client(base_url=guarded.base, verify=False) as client:
        for path in ("/health", "/ready", "/api/version", "/", "/ui/", "/ui/icon.svg"):
            assert client.get(path).status_code == 200
        for path in ("/v1/models", "/api/tags", "/metrics", "/api/v1/workflows", "/openapi.json"):
            response = client.get(path)
            assert response.status_code == 401
            assert "invalid_api_key" in response.text
        assert isinstance(client.post("/api/chat", json={}).json()["error"], str)


@pytest.mark.parametrize("text", ["sk-chorus-" + "x" * 32, "revoked", "sk-chorus-"])
def test_a_key_that_is_none_is_refused(guarded: ServerProcess, keys: dict[str, str], text: str) -> None:
    headers = {"authorization": f"Bearer {keys.get(text, text)}"}
    response = httpx.get(f"{guarded.base}/v1/models", headers=headers, verify=False)
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "authentication_error"


def test_a_clients_key_asks_its_models_and_nothing_else(guarded: ServerProcess, keys: dict[str, str]) -> None:
    with openai.OpenAI(base_url=guarded.api_base, api_key=keys["client"], max_retries=0) as client:
        for model in ("glm", "chorus", "chorus:latest"):
            assert client.chat.completions.create(model=model, messages=TURNS).choices[0].message.content == "fine"
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model="kimi", messages=TURNS)
        assert refused.value.code == "forbidden_model"
        with pytest.raises(openai.PermissionDeniedError):
            client.embeddings.create(model="kimi", input="x")
        with pytest.raises(openai.PermissionDeniedError) as closed:
            client.get("/../api/v1/workflows", cast_to=object)
        assert closed.value.code == "forbidden_route"
    stranger = openai.OpenAI(base_url=guarded.api_base, api_key="sk-other", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with Anthropic(base_url=guarded.base, api_key=keys["client"], max_retries=0) as anthropic:
        assert anthropic.messages.create(model="glm", max_tokens=9, messages=TURNS).content


def test_an_administrator_may_everything(guarded: ServerProcess, keys: dict[str, str]) -> None:
    headers = {"authorization": f"Bearer {keys['admin']}"}
    with httpx.Client(base_url=guarded.base, headers=headers, verify=False) as client:
        for path in ("/metrics", "/api/v1/upstreams", "/api/v1/workflows", "/v1/models"):
            assert client.get(path).status_code == 200


def test_no_key_is_written_anywhere(guarded: ServerProcess, path: Path, keys: dict[str, str]) -> None:
    listed = chorus_keys(path, "list")
    assert listed.stdout.count("\n") == 3
    assert "laptop" in listed.stdout
    for text in keys.values():
        assert text not in path.read_text() + listed.stdout + guarded.log
    assert path.stat().st_mode & 0o077 == 0


def test_a_ring_without_a_key_does_not_close_the_door_behind_its_owner(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    with pytest.raises(ConfigError, match="chorus keys create"):
        KeyRing(file)
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing(file)
    late, _ = KeyFile(tmp_path / "late.json").create("late", role="client", models=(), expires=1.0)
    ring = KeyRing(KeyFile(tmp_path / "late.json"))
    with pytest.raises(InvalidKey, match="expired"):
        ring.check(late)


def test_a_file_that_breaks_while_the_server_runs_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorus.auth.keys._LOOK_SECS", 0.0)
    path = tmp_path / "keys.json"
    text, key = KeyFile(path).create("laptop", role="client", models=(), expires=None)
    ring = KeyRing(KeyFile(path))
    path.write_text("{")
    os.utime(path, (1, 1))
    assert ring.check(text) == key
    path.unlink()
    with pytest.raises(InvalidKey, match="not known"):
        ring.check(text)


def test_a_file_that_cannot_be_read_for_a_moment_is_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorus.auth.keys._LOOK_SECS", 0.0)
    path = tmp_path / "keys.json"
    file = KeyFile(path)
    text, key = file.create("laptop", role="client", models=(), expires=None)
    ring = KeyRing(file)
    read = file.read
    failures: list[Exception] = [MemoryError(), OSError("too many open files"), RecursionError()]

    def failing() -> list[Key]:
        if failures:
            raise failures.pop()
        return read()

    monkeypatch.setattr(file, "read", failing)
    assert KeyFile(path).revoke(key.id)
    for _ in range(3):
        assert ring.check(text) == key
    with pytest.raises(InvalidKey, match="not known"):
        ring.check(text)


def test_a_change_within_one_tick_of_the_file_systems_clock_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorus.auth.keys._LOOK_SECS", 0.0)
    path = tmp_path / "keys.json"
    text, key = KeyFile(path).create("laptop", role="client", models=(), expires=None)
    os.utime(path, (1, 1))
    ring = KeyRing(KeyFile(path))
    KeyFile(path).revoke(key.id)
    os.utime(path, (1, 1))
    with pytest.raises(InvalidKey, match="not known"):
        ring.check(text)


WRITING = """
import sys
from pathlib import Path
from chorus.auth.keys import KeyFile
file = KeyFile(Path(sys.argv[1]))
for number in range(10):
    text, key = file.create(f"{sys.argv[2]}-{number}", role="client", models=(), expires=None)
    if number % 2:
        assert file.revoke(key.id)
        print("revoked", text)
    else:
        print("created", text)
"""


def test_several_processes_lose_no_key_and_revive_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    kept, _ = KeyFile(path).create("before", role="client", models=(), expires=None)
    commands = [[sys.executable, "-c", WRITING, str(path), f"process-{number}"] for number in range(4)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [line.split() for process in processes for line in process.communicate(timeout=30)[0].splitlines()]
    assert [process.returncode for process in processes] == [0] * 4
    ring = KeyRing(KeyFile(path))
    ring.check(kept)
    good = dict.fromkeys(("created", "revoked"), 0)
    for what, text in said:
        try:
            ring.check(text)
            good[what] += 1
        except InvalidKey:
            continue
    assert good == {"created": 20, "revoked": 0}
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_stands_in_the_file_does_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    name = "mallory\x1b[2J\x1b]0;owned\x07\u202egpj\x9b31m\rroot"
    KeyFile(path).create(name, role="client", models=("g\x1blm",), expires=1e300)
    listed = chorus_keys(path, "list")
    assert listed.returncode == 0
    line = listed.stdout.rstrip("\n")
    assert line.isprintable()
    assert "mallory\\x1b[2J" in line
    assert "after 9999" in line


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("is none")
    done = chorus_keys(tmp_path / "folder" / "keys.json", "create", "laptop")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_which_models_a_key_allows() -> None:
    key = Key("1", "x", "", models=("glm",))
    assert (key.allows("glm"), key.allows("glm:latest"), key.allows("kimi")) == (True, True, False)
    assert Key("1", "x", "").allows("anything")


def test_odd_words_of_the_command(path: Path) -> None:
    assert chorus_keys(path, "revoke", "nothing").returncode == 1
    assert chorus_keys(path, "create", "x", "--expires", "soon").returncode == 2
