"""`chorus check --live`: what works, what it costs, and what is written of it (C6, C8)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Behaviour, Hang, Recorded, Say, ScriptedUpstream, Status
from tests.kit.command import process

pytestmark = pytest.mark.requirement("C6")
CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "Paris"}'}
KEY = "sk-planted0123456789abcdef"


def able(*, tools: bool = True, schema: bool = True, images: bool = True) -> Callable[[Recorded], Behaviour]:
    """A model that can do these things.

    What it cannot do it refuses, or answers as if it had not read it.
    """

    def answer(request: Recorded) -> Behaviour:
        body = request.json
        if body.get("tools"):
            if not tools:
                return Status(400, {"error": {"message": "this model does not support tools"}})
            return Say("", tool_calls=[CALL], usage=(100, 10))
        if body.get("response_format"):
            return Say('{"capital": "Paris"}' if schema else "It is Paris.", usage=(100, 10))
        if "image_url" in str(body["messages"]):
            return Say("Red." if images else "I see no picture.", usage=(100, 10))
        return Say("1 2 3 4 5", usage=(100, 10))

    return answer


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


def config(upstream: ScriptedUpstream, folder: Path, *models: str, more: str = "") -> Path:
    """A file with these models, each as `more` says."""
    path = folder / "config.toml"
    tables = [
        f'# about {name}\n[[model]]\nname = "{name}"  # its name\napi_base = "{upstream.api_base}"\n'
        f'api_key = "{KEY}"\nretries = 0\n{more}\n'
        for name in models
    ]
    path.write_text("\n".join(["# mine", *tables, "# the end"]), encoding="utf-8")
    return path


def checked(path: Path, *args: str) -> Any:
    return process("check", str(path), "--live", *args, home=path.parent)


def rows(output: str) -> dict[str, list[str]]:
    """The cells of each line of the table, by its first."""
    return {cells[0]: cells[1:] for line in output.splitlines() if (cells := line.split()) and "," not in cells[0]}


def test_a_table_says_what_works_and_what_it_costs(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("all", able()).on("some", able(tools=False, schema=False, images=False))
    price = "price = { input = 1.0, output = 10.0 }"
    done = checked(config(upstream, tmp_path, "all", "some", more=price))
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert table["model"] == ["chat", "stream", "tools", "schema", "images", "tokens", "cost"]
    assert table["all"] == ["yes"] * 5 + ["550", "$0.001"]
    assert table["some"] == ["yes", "yes", "no", "no", "no", "440", "$0.0008"]
    assert "some, tools: Upstream 'some' refused the request (400): this model does not support tools" in done.stdout
    assert "some, schema: its answer does not follow the schema" in done.stdout
    assert "some, images: it did not see that the picture is red" in done.stdout
    assert len(upstream.calls("all")) == 5


def test_json_is_one_object(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("all", able())
    done = checked(config(upstream, tmp_path, "all"), "--json")
    [report] = json.loads(done.stdout)["models"]
    assert report["model"] == "all"
    assert [report[name]["state"] for name in ("chat", "stream", "tools", "schema", "images")] == ["yes"] * 5
    assert report["usage"]["total_tokens"] == 550


def test_one_that_does_not_answer_is_asked_once_and_the_others_go_on(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.on("all", able()).on("locked", Status(401, {"error": {"message": f"{KEY} is unknown"}}))
    done = checked(config(upstream, tmp_path, "all", "locked"))
    assert done.returncode == 1
    table = rows(done.stdout)
    assert table["all"][:5] == ["yes"] * 5
    assert table["locked"] == ["failed", "-", "-", "-", "-", "0", "-"]
    assert "locked, chat: " in done.stdout
    assert KEY not in done.stdout + done.stderr
    assert len(upstream.calls("locked")) == 1


def test_silence_has_a_limit(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("slow", Hang())
    done = checked(config(upstream, tmp_path, "slow"), "--live-secs", "0.3")
    assert done.returncode == 1
    assert "slow, chat: no answer within 0.3 s" in done.stdout


def test_as_many_models_are_asked_at_a_time_as_was_said(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(6)]
    for name in names:
        upstream.on(name, lambda request: Say("red 1 2", first_token=0.02))
    checked(config(upstream, tmp_path, *names), "--concurrency", "2")
    assert upstream.max_in_flight == 2


def test_what_was_found_is_written_and_the_comments_stay(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("all", able()).on("some", able(schema=False)).on("locked", Status(401))
    path = config(upstream, tmp_path, "all", "some", "locked")
    before = path.read_text(encoding="utf-8")
    done = checked(path, "--write")
    after = path.read_text(encoding="utf-8")
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert added == [
        'capabilities = ["tools", "json_schema", "vision"]',
        'capabilities = ["tools", "vision"]',
    ]
    assert [line for line in after.splitlines() if line not in added] == before.splitlines()
    assert "all are written" in done.stdout
    assert checked(path, "--write").stdout.count("are written") == 0
    assert path.read_text(encoding="utf-8") == after


def test_what_is_written_there_already_is_replaced_and_what_was_not_tried_stays(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.on("all", able(tools=False))
    more = 'capabilities = [\n  "tools", # so they say\n  "embeddings",\n] # old'
    path = config(upstream, tmp_path, "all", more=more)
    checked(path, "--write")
    text = path.read_text(encoding="utf-8")
    assert 'capabilities = ["json_schema", "vision", "embeddings"] # old\n' in text
    assert "so they say" not in text


def test_a_model_that_only_embeds_is_asked_for_that(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    done = checked(config(upstream, tmp_path, "vectors", more='capabilities = ["embeddings"]'), "--json")
    assert done.returncode == 0
    [report] = json.loads(done.stdout)["models"]
    assert report["embeddings"] == {"state": "yes"}
    assert report["chat"] == {"state": "skipped"}


@pytest.mark.requirement("C11")
def test_its_options_belong_to_it(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    path = config(upstream, tmp_path, "all")
    assert process("check", str(path), "--write", home=tmp_path).returncode == 2
    assert process("check", str(path), "--json", home=tmp_path).returncode == 2
