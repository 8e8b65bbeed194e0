"""What the documents claim, held against the program: messages, fields, files, commands, call
counts (T3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from chorus import config as configuration
from chorus.cli.lazy import COMMANDS
from chorus.errors import ConfigError
from chorus.server.dialects import DIALECTS, Dialect
from chorus.serving.configuration import read_config
from chorus.snapshot import workflow_problems
from chorus.workflow.parse import parse
from chorus.workflow.plan import total_calls
from tests.kit import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
GLM = '[[model]]\nname = "glm"\napi_base = "http://127.0.0.1:9/v1"\n'


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """What stands under `heading` up to the next one of the same depth or above."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = text_of(name).partition(f"\n{heading}\n")
    assert found, f"{name} has no {heading!r}"
    return re.split(rf"\n#{{1,{level}}} ", rest)[0]


# Files with one mistake each, whose messages docs/FIXED_CONFIG_ISSUE.md quotes.
MISTAKES = {
    "undefined models": f'{GLM}[workflow-integration]\nworkers = ["qwen", "kim", "qwen"]\nselector = "glm"\n',
    "misspelt key": f"[server]\nprot = 11435\n{GLM}",
    "unset variable": '\n\n\n[[model]]\nname = "glm"\napi_base = "http://127.0.0.1:9/v1"\napi_key = "${ZHIPU_KEY}"\n',
    "bad values": '\n\n\n\n[[model]]\nname = "glm"\napi_base = "http://127.0.0.1:9/v1"\ntemperature = 3\n\n'
    '[[model]]\nname = "kimi"\napi_base = "api.moonshot.cn/v1"\n',
    "bad JSON": f'{GLM}\n[workflow-integration]\njson = """\n{{"workers": ["glm", "kimi",], "selector": "glm"}}\n"""\n',
    "milliseconds": f"{GLM}[workflow.timeouts]\nworker_timeout_secs = 30000\n",
}


def said(text: str) -> list[str]:
    """What `chorus check` prints on standard error about this file."""
    try:
        config = configuration.loads(text, source="config.toml", environ={}, find_problems=workflow_problems)
    except ConfigError as error:
        return error.message.splitlines()
    return [f"warning: {warning}" for warning in config.warnings]


def test_every_message_that_is_quoted_is_one_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = {_anywhere(line) for text in MISTAKES.values() for line in said(text)}
    with pytest.raises(ConfigError) as missing:
        read_config(Path("config.toml"))
    Path("config.toml").write_text(text_of("test-old-config.toml"), encoding="utf-8")
    read_config(Path("config.toml"))
    printed |= {missing.value.message, *capsys.readouterr().err.splitlines()}
    quoted = re.findall(r"^```\n(.*?)^```", text_of("docs/FIXED_CONFIG_ISSUE.md"), re.MULTILINE | re.DOTALL)
    assert quoted
    assert [line for block in quoted for line in block.splitlines() if _anywhere(line) not in printed] == []


def _anywhere(line: str) -> str:
    """The line without the place in the file, which depends on the example."""
    return re.sub(r"line \d+|column \d+", "N", line)


@pytest.mark.requirement("C8")
def test_the_sentence_about_undefined_models_is_the_specifications() -> None:
    assert said(MISTAKES["undefined models"]) == ["Workflow configuration references undefined model(s): kim, qwen"]


def test_files_named_as_code_or_test_exist() -> None:
    missing = set()
    folders = [place for place in (ROOT / "chorus").rglob("*") if place.is_dir()]
    places = [ROOT, ROOT / "chorus", ROOT / "docs", ROOT / "tests", *folders]
    for name in ("docs/FIX_SUMMARY.md", "docs/ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"):
        for path in re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|sh|toml|md)|(?:[a-z_]+/)+)`", text_of(name)):
            if not any((place / path).exists() for place in places):
                missing.add(f"{name}: {path}")
    assert missing == set()


@pytest.mark.requirement("C11")
def test_commands_and_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", text_of("Makefile"), re.MULTILINE))
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"[`/]chorus ([a-z]+)\b", text)) <= COMMANDS.keys(), path.name
        assert set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE)) <= targets, path.name


def test_both_readmes_say_the_same_things() -> None:
    chinese = [line for line in text_of("README.md").splitlines() if line.startswith("## ")]
    english = [line for line in text_of("README.en.md").splitlines() if line.startswith("## ")]
    assert len(chinese) == len(english)
    for mark in ("```", "| 502 ", "llm_generated_tokens_total", "chorus-llm"):
        assert (mark in text_of("README.md")) == (mark in text_of("README.en.md")), mark
    assert _commands("README.md") == _commands("README.en.md")


def _commands(name: str) -> set[str]:
    return set(re.findall(r"\bmake [\w-]+|chorus (?:init|check|serve|demo|ask|migrate)\b", text_of(name)))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
@pytest.mark.requirement("A1")
def test_every_request_field_is_documented(dialect: Dialect) -> None:
    text = section("docs/API.md", "## Answers")
    missing = [name for name in dialect.body.__struct_fields__ if f"`{name}" not in text]
    assert missing == []


@pytest.mark.requirement("C6")
def test_the_table_of_calls_counts_right() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text_of("docs/WORKFLOWS.md"), re.MULTILINE)
    assert rows
    for workers, *counts in rows:
        tree = {"workers": [f"m{i}" for i in range(int(workers))], "analyzer": "j", "selector": "j", "synthesizer": "j"}
        for depth, count in enumerate(counts, start=1):
            flow, problems = parse(tree, label="chorus", place="", depth=depth, kinds={})
            assert flow is not None, problems
            assert total_calls(flow) == int(count)


@pytest.mark.requirement("W9")
def test_every_field_of_a_trace_is_documented(demo: ServerProcess) -> None:
    text = section("docs/WORKFLOWS.md", "## The trace")
    for model, says in (("chorus", "moody: fail. What is 2 + 2?"), ("chorus/nested", "What is 2 + 2?")):
        body = {"model": model, "include_workflow": True, "messages": [{"role": "user", "content": says}]}
        trace = httpx.post(f"{demo.api_base}/chat/completions", json=body, timeout=30).json()["workflow"]
        missing = {key for key in keys(trace) if f"`{key}" not in text and f", {key}" not in text}
        assert missing == set()


def keys(value: Any) -> Iterator[str]:
    """Every key at any depth.

    What an analyzer or a tool says of itself, and counts by worker, are values.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            if key not in ("analysis", "scores", "usage"):
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


@pytest.mark.requirement("A5")
def test_headers_that_are_documented_are_sent(demo: ServerProcess) -> None:
    body = {"model": "chorus", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    headers = {"X-Request-ID": "mine-1", "X-Chorus-Include-Workflow": "true"}
    reply = httpx.post(f"{demo.api_base}/chat/completions", json=body, headers=headers, timeout=30)
    assert reply.headers["x-request-id"] == "mine-1"
    assert reply.json()["workflow"]["workflow_id"] == reply.headers["x-chorus-workflow-id"]
    assert httpx.post(f"{demo.base}/api/pull", json={}).headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "example", re.findall(r"^```json\n(.*?)^```", text_of("docs/API.md"), re.MULTILINE | re.DOTALL)
)
def test_json_examples_are_json(example: str) -> None:
    assert json.loads(example)


@pytest.mark.parametrize(
    ("path", "marks"),
    [
        ("/v1/chat/completions", ["chat.completion.chunk", '"role":"assistant"', '"finish_reason":"stop"', "[DONE]"]),
        ("/v1/completions", ["text_completion", '"finish_reason":"stop"', "[DONE]"]),
        ("/v1/responses", ["response.created", "response.output_text.delta", "response.completed"]),
        (
            "/v1/messages",
            [
                "message_start",
                "content_block_start",
                "text_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
            ],
        ),
        ("/api/chat", ['"message":', '"done":false', '"done":true', "eval_count"]),
        ("/api/generate", ['"response":', '"done":false', '"done":true', "eval_count"]),
    ],
)
@pytest.mark.requirement("A1")
def test_streams_look_as_they_are_drawn(demo: ServerProcess, path: str, marks: list[str]) -> None:
    """Each mark is in the document's drawing and in a real stream, in this order."""
    ask = "What is 6 * 7?"
    body = {"model": "chorus", "stream": True, "messages": [{"role": "user", "content": ask}], "prompt": ask}
    if path == "/v1/responses":
        body = {"model": "chorus", "stream": True, "input": ask}
    stream = httpx.post(demo.base + path, json=body, timeout=30).text
    drawn = section("docs/API.md", "## Streams").split(f"`{path}`", 1)[1]
    for text in (stream, drawn):
        position = 0
        for mark in marks:
            position = text.find(mark, position)
            assert position >= 0, f"no {mark} in {text[:2000]}"
