"""How judges are asked, what is kept of it, and that nothing is asked twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chorus import config as configuration
from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question
from chorus.evaluation.judges.asking import Judgement, JudgementFile, ask_judges
from chorus.evaluation.judges.pairs import Pair, Stored
from chorus.service import Chorus
from chorus.snapshot import workflow_problems
from chorus.types import Message
from tests.kit import Recorded, Say, ScriptedUpstream, Status

CONFIG = """
[[model]]
name = "judge"
api_base = "{base}"
price = {{ input = 1.0, output = 2.0 }}
[[model]]
name = "strict"
api_base = "{base}"
capabilities = ["json_schema"]
temperature = "none"
"""
ASKED = Question("a", (Message("system", "Be brief."), Message("user", "2 + 2")), "numeric", 4)
PAIRS = [
    Pair(f"p{number}", ASKED, Stored(f"{number} it is 4", frozenset("x"), 1.0), Stored("5", frozenset("y"), 0.0))
    for number in range(3)
]


def shown(request: Recorded) -> dict[str, str]:
    blocks = re.findall(r'<candidate label="(\w)".*?>\n(.*?)\n</candidate', request.last_user_text, re.DOTALL)
    return dict(blocks)


def prefers_right(request: Recorded) -> Say:
    scores = {label: 9 if "4" in text else 2 for label, text in shown(request).items()}
    return Say(json.dumps({"choice": max(scores, key=lambda label: scores[label]), "scores": scores}))


@pytest.fixture
async def upstream() -> Any:
    async with ScriptedUpstream() as scripted:
        scripted.on("judge", prefers_right).on("strict", prefers_right)
        yield scripted


@pytest.fixture
async def chorus(upstream: ScriptedUpstream) -> Any:
    text = CONFIG.format(base=upstream.api_base)
    chorus = Chorus(configuration.loads(text, environ={}, find_problems=workflow_problems))
    yield chorus
    await chorus.aclose()


async def ask(chorus: Chorus, path: Path, judges: list[str], pairs: list[Pair] = PAIRS) -> JudgementFile:
    kept = JudgementFile(path, {"v": "1"})
    try:
        await ask_judges(chorus, judges, pairs, kept, concurrency=2, tick=lambda: None)
    finally:
        kept.close()
    return kept


async def test_each_pair_is_shown_in_both_orders_as_a_selector_shows_it(
    chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    kept = await ask(chorus, tmp_path / "judgements.jsonl", ["judge", "strict"], PAIRS[:1])
    said = kept.by_key["judge", "p0"]
    assert (said.id, said.preferred, said.scores) == ("a", (0, 0), ((9, 2), (9, 2)))
    assert said.tokens > 0
    assert said.cost is not None
    assert kept.by_key["strict", "p0"].cost is None
    for name in ("judge", "strict"):
        first, second = (request for request in upstream.requests if request.json["model"] == name)
        assert list(shown(first).values()) == list(shown(second).values())[::-1]
        assert [message["role"] for message in first.json["messages"]] == ["system", "user", "user"]
        assert "correct answer" not in json.dumps(first.json)
        assert ("response_format" in first.json) == (name == "strict")
        assert first.json.get("temperature") == (None if name == "strict" else 0.2)


async def test_a_place_that_is_preferred_is_seen(chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("judge", Say('{"choice": "A", "scores": {"A": 7}}'))
    kept = await ask(chorus, tmp_path / "judgements.jsonl", ["judge"], PAIRS[:1])
    assert kept.by_key["judge", "p0"].preferred == (0, 1)
    assert kept.by_key["judge", "p0"].scores == (None, None)  # not both were scored


async def test_a_reply_without_a_verdict_is_kept_as_none(
    chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.on("judge", Say("no idea"))
    path = tmp_path / "judgements.jsonl"
    kept = await ask(chorus, path, ["judge"], PAIRS[:1])
    assert kept.by_key["judge", "p0"].preferred == (None, None)
    again = JudgementFile(path, {"v": "1"})
    again.close()
    assert again.by_key == kept.by_key


async def test_the_file_has_a_line_for_each_judge_and_pair_and_a_second_run_asks_nothing_again(
    chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "judgements.jsonl"
    first = await ask(chorus, path, ["judge"], PAIRS[:2])
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(header) == {"v": "1"}
    rows = {row["pair"]: row for row in map(json.loads, lines)}
    assert rows.keys() == {"p0", "p1"}
    assert rows["p0"].keys() == {"judge", "pair", "id", "preferred", "scores", "secs", "tokens", "cost"}
    assert rows["p0"]["preferred"] == [0, 0]
    asked = len(upstream.requests)
    # the process was killed in mid-line
    path.write_bytes(path.read_bytes() + b'{"judge": "judge", "pa')
    again = await ask(chorus, path, ["judge"])
    assert len(upstream.requests) == asked + 2  # the third pair
    assert first.by_key.items() <= again.by_key.items()
    assert len(path.read_text(encoding="utf-8").splitlines()) == 4
    await ask(chorus, path, ["judge", "strict"])
    assert len(upstream.requests) == asked + 2 + 6
    with pytest.raises(ChorusError, match="results of other questions"):
        JudgementFile(path, {"v": "2"})


async def test_a_judge_that_fails_ends_it_with_one_sentence_and_what_was_said_is_kept(
    chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "judgements.jsonl"
    await ask(chorus, path, ["judge"], PAIRS[:1])
    upstream.on("judge", Status(400))
    with pytest.raises(ChorusError, match="the judge 'judge' does not answer"):
        await ask(chorus, path, ["judge"])
    kept = JudgementFile(path, {"v": "1"})
    kept.close()
    assert kept.by_key.keys() == {("judge", "p0")}


def test_a_line_that_is_no_judgement_is_named(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    kept = JudgementFile(path, {})
    kept.add(Judgement("judge", "p", "a", (0, None)))
    kept.close()
    path.write_bytes(path.read_bytes() + b'{"judge": "judge"}\n')
    with pytest.raises(ChorusError, match="line 3"):
        JudgementFile(path, {})
