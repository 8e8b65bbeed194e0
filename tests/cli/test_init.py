"""`chorus init`: keys of the environment become a file that works, with models that exist (C1,
C11).
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chorus.cli.hosted import HOSTED, offered
from tests.kit import Hang, Raw, Recorded, Say, ScriptedUpstream, Status, free_port
from tests.kit.command import ROOT, chorus, environment
from tests.kit.script import Behaviour

pytestmark = pytest.mark.requirement("C11")
KEY = "sk-planted0123456789abcdef"
AWAY = {"OLLAMA_HOST": "http://127.0.0.1:9"}


def listing(*names: str, **more: Any) -> Raw:
    """A list of models in OpenAI's shape."""
    body = {"object": "list", "data": [{"id": name, **more} for name in names]}
    return Raw([json.dumps(body).encode()], content_type="application/json", close=False)


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


def at(upstream: ScriptedUpstream, name: str) -> dict[str, str]:
    """The variables of one provider, which is a folder of the upstream."""
    stem = name.upper()
    return {f"{stem}_API_KEY": KEY, f"{stem}_BASE_URL": f"{upstream.base}/{name}"}


def made(folder: Path, *args: str, **env: str) -> tuple[dict[str, Any], str]:
    """The file that is written, and what is printed."""
    path = folder / "config.toml"
    done = chorus("init", "--config", str(path), *args, home=folder, **AWAY, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    text = path.read_text(encoding="utf-8")
    assert KEY not in text + done.stdout + done.stderr
    assert chorus("check", str(path), home=folder, **env).returncode == 0
    return tomllib.loads(text), done.stdout


def test_models_that_exist_are_written(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    names = (
        "gpt-4o-mini",
        "gpt-5-mini",
        "gpt-5.4-mini-2026-03-01",
        "gpt-5.4-mini",
        "text-embedding-3-small",
        "gpt-image-1",
    )
    upstream.on("/openai/models", listing(*names)).on("/xai/models", listing("grok-3", "grok-4.1"))
    file, printed = made(tmp_path, "--yes", **at(upstream, "openai"), **at(upstream, "xai"))
    gpt, grok = file["model"]
    assert (gpt["name"], gpt["model"], gpt["api_key"]) == ("gpt", "gpt-5.4-mini", "${OPENAI_API_KEY}")
    assert gpt["api_base"] == f"{upstream.base}/openai"
    assert (grok["name"], grok["model"]) == ("grok", "grok-4.1")
    workflow = file["workflow-integration"]
    assert workflow["workers"] == [{"ref": "gpt"}, {"ref": "grok"}]
    assert workflow["selector"] == {"ref": "gpt", "passes": 2}
    assert workflow["synthesizer"] == {"ref": "gpt"}
    assert "chorus check --live" in printed
    assert [request.headers["authorization"] for request in upstream.requests] == [f"Bearer {KEY}"] * 2


def test_each_provider_is_asked_in_its_own_way(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    def anthropic(request: Recorded) -> Behaviour:
        if request.headers.get("x-api-key") != KEY or "anthropic-version" not in request.headers:
            return Status(401)
        return listing("claude-opus-4-5", "claude-sonnet-4-20250514", "claude-sonnet-4-5")

    def azure(request: Recorded) -> Behaviour:
        if request.headers.get("api-key") != KEY or "api-version=" not in request.query:
            return Status(401)
        return listing("my-gpt-5-mini", "my-embeddings")

    upstream.on("/anthropic/v1/models", anthropic).on("/azure/openai/deployments", azure)
    upstream.on("/gemini/models", listing("models/gemini-2.5-pro", "models/gemini-3-flash", "models/veo-3"))
    env = {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": f"{upstream.base}/azure/"}
    file, _ = made(tmp_path, **at(upstream, "anthropic"), **at(upstream, "gemini"), **env)
    by_name = {entry["name"]: entry for entry in file["model"]}
    assert (by_name["claude"]["provider"], by_name["claude"]["model"]) == ("anthropic", "claude-sonnet-4-5")
    assert (by_name["azure"]["provider"], by_name["azure"]["model"]) == ("azure", "my-gpt-5-mini")
    assert by_name["azure"]["api_base"] == f"{upstream.base}/azure"
    assert by_name["gemini"]["model"] == "gemini-3-flash"


def test_one_that_is_away_is_a_line_and_a_key_that_is_refused_is_left_out(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.on("/openai/models", listing("gpt-5-mini")).on("/mistral/models", Status(401, {"message": f"no {KEY}"}))
    upstream.on("/groq/models", Status(500)).on("/xai/models", Raw([b"<html>"], content_type="text/html"))
    away = {"DEEPSEEK_API_KEY": KEY, "DEEPSEEK_BASE_URL": f"http://127.0.0.1:{free_port()}/v1"}
    keys = {name: value for each in ("openai", "mistral", "groq", "xai") for name, value in at(upstream, each).items()}
    file, printed = made(tmp_path, **keys, **away)
    assert {entry["name"]: entry["model"] for entry in file["model"]} == {
        "gpt": "gpt-5-mini",
        "deepseek": "deepseek-chat",
        "grok": "grok-4",
        "groq": "openai/gpt-oss-120b",
    }
    assert "- mistral (MISTRAL_API_KEY) is left out: its key is refused" in printed
    for name in ("deepseek (DEEPSEEK_API_KEY)", "groq (GROQ_API_KEY)", "grok (XAI_API_KEY)"):
        assert f"- {name} has no list of models: " in printed


def test_all_are_asked_at_once_and_silence_has_a_limit(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorus.cli.listing.LIST_SECS", 0.5)
    names = ("openai", "deepseek", "mistral")
    for name in names:
        upstream.on(f"/{name}/models", Hang())
    keys = {variable: value for name in names for variable, value in at(upstream, name).items()}
    _, printed = made(tmp_path, **keys)
    assert printed.count("no answer within 0.5 s") == 3
    assert upstream.max_in_flight == 3


def test_the_address_is_the_one_that_takes_the_key(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.on("/cn/models", Status(401)).on("/intl/models", listing("kimi-k2-0905-preview", "kimi-k3"))
    from chorus.cli import init

    [kimi] = [each for each in HOSTED if each.name == "kimi"]
    bases = (f"{upstream.base}/cn", f"{upstream.base}/intl")
    monkeypatch.setattr(init, "HOSTED", [type(kimi)(kimi.name, kimi.variables, bases, kimi.usual, kimi.preferred)])
    file, _ = made(tmp_path, MOONSHOT_API_KEY=KEY)
    assert [(entry["api_base"], entry["model"]) for entry in file["model"]] == [(bases[1], "kimi-k3")]


def test_there_are_four_workers_at_most_and_local_models_come_last(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    names = ("openai", "gemini", "deepseek", "mistral", "xai")
    for name in names:
        upstream.on(f"/{name}/models", Status(500))
    upstream.on("llama3", Say("")).on("nomic-embed-text", Say(""))
    keys = {variable: value for name in names for variable, value in at(upstream, name).items()}
    path = tmp_path / "c.toml"
    done = chorus("init", "--config", str(path), home=tmp_path, OLLAMA_HOST=upstream.base, **keys)
    assert done.returncode == 0, done.stderr
    file = tomllib.loads(path.read_text(encoding="utf-8"))
    assert [entry["name"] for entry in file["model"]] == ["gpt", "gemini", "deepseek", "grok", "mistral", "llama3"]
    assert [worker["ref"] for worker in file["workflow-integration"]["workers"]] == [
        "gpt",
        "gemini",
        "deepseek",
        "grok",
    ]


def test_one_model_is_asked_twice(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("/deepseek/models", listing("deepseek-chat", "deepseek-reasoner"))
    file, _ = made(tmp_path, **at(upstream, "deepseek"))
    assert file["workflow-integration"]["workers"] == [{"ref": "deepseek", "samples": 2}]


def test_azure_without_an_address_says_what_is_missing(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("/deepseek/models", listing("deepseek-chat"))
    _, printed = made(tmp_path, AZURE_OPENAI_API_KEY=KEY, **at(upstream, "deepseek"))
    assert "- azure (AZURE_OPENAI_API_KEY) is left out: AZURE_OPENAI_ENDPOINT is not set" in printed


def test_on_a_terminal_it_asks(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("/openai/models", listing("gpt-5-mini", "gpt-5", "o3")).on("/xai/models", listing("grok-4"))
    upstream.on("/mistral/models", listing("mistral-medium-latest"))
    ours, theirs = pty.openpty()
    path = tmp_path / "config.toml"
    keys = {name: value for each in ("openai", "xai", "mistral") for name, value in at(upstream, each).items()}
    command = [sys.executable, "-m", "chorus", "init", "--config", str(path)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
        env=environment(tmp_path, {**AWAY, **keys}),
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, b"7\n2, o3\n\n0\ngrok\n")
        output, errors = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, errors
    assert b"not in the list: 7" in output
    file = tomllib.loads(path.read_text(encoding="utf-8"))
    chosen = {entry["name"]: entry.get("model", entry["name"]) for entry in file["model"]}
    assert chosen == {"gpt": "gpt-5", "gpt-2": "o3", "grok": "grok-4"}
    assert file["workflow-integration"]["selector"] == {"ref": "grok", "passes": 2}


@pytest.mark.parametrize("provider", HOSTED, ids=lambda each: each.name)
def test_every_usual_model_is_one_that_would_be_offered(provider: Any) -> None:
    if provider.usual:
        others = ["whisper-1", "text-embedding-3-large", "aaa-other", provider.usual, "zzz-image"]
        expected = [provider.usual, "aaa-other"] if provider.preferred else ["aaa-other", provider.usual]
        assert offered(provider, others) == expected


def test_the_latest_version_comes_first() -> None:
    [gpt] = [each for each in HOSTED if each.name == "gpt"]
    assert offered(gpt, ["gpt-5-mini", "gpt-5.2-mini", "gpt-5.10-mini"])[0] == "gpt-5.10-mini"
    [claude] = [each for each in HOSTED if each.name == "claude"]
    names = ["claude-sonnet-4-20250514", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "claude-sonnet-4"]
    assert offered(claude, names)[:2] == ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929"]


def test_the_page_of_providers_has_every_variable_and_address() -> None:
    page = (ROOT / "docs" / "PROVIDERS.md").read_text(encoding="utf-8")
    for provider in HOSTED:
        row = next(line for line in page.splitlines() if line.startswith(f"| {provider.name} |"))
        assert all(f"`{name}`" in row for name in (*provider.variables, *provider.bases))
