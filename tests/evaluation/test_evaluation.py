"""`chorus eval`: reading questions, grading, going on after an interruption, and what the report
says.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus import config as configuration
from chorus.cli.demo import demo_config
from chorus.errors import ChorusError, ConfigError
from chorus.evaluation.dataset import Question, load, parse
from chorus.evaluation.grading import is_right, last_number
from chorus.evaluation.judging import compare
from chorus.evaluation.report import html
from chorus.evaluation.results import Result, ResultFile, WorkerAnswer
from chorus.evaluation.runner import ask_all, judge_all
from chorus.evaluation.statistics import difference, mean_of, percentile
from chorus.evaluation.summary import Summary, summarise
from chorus.evaluation.table import money
from chorus.service import Chorus
from chorus.snapshot import workflow_problems
from chorus.types import Message
from tests.kit import Recorded, Say, ScriptedUpstream, Status

ROOT = Path(__file__).parents[2]


def question(check: str, answer: Any = None, tolerance: float = 0, text: str = "How?", id: str = "1") -> Question:
    return Question(id, (Message("user", text),), check, answer, tolerance)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "right", "wrong"),
    [
        (
            question("exact", "Paris"),
            ["paris", "**Paris**.", "“Paris.”", " Paris\n", "Ｐａｒｉｓ"],
            ["In Paris", "London", ""],
        ),
        (question("exact", "C#"), ["c#", "`C#`."], ["C", "C##"]),
        (question("exact", ".5"), [".5", ".5."], ["5"]),
        (question("exact", "Yes!"), ["yes", "Yes!", "yes."], ["no"]),
        (question("exact", 391), ["391", "391."], ["-391"]),
        (
            question("numeric", 1234.5, 0.5),
            ["So it is 1,234.5.", "1234", "1.2345e3"],
            ["1234.5 or 7", "none", "-1234.5"],
        ),
        (question("numeric", -3), ["it is -3", "−3", "x=-3", "答案是-3"], ["3", "from 0-3"]),
        (question("numeric", 5), ["3-5", "12 m², so 5", "$5.00", "x = 5,"], ["GPT-5.1", "1e5"]),
        (question("regex", r"(?i)\bfour\b"), ["Four!", "it is four"], ["fourteen"]),
        (question("json", {"a": [1, 2]}), ['{"a":[1,2]}', '```json\n{"a": [1, 2.0]}\n```'], ['{"a":[2,1]}', "a", "{}"]),
        (question("json", [True]), ["[true]"], ["[1]", '["true"]', "[true, true]"]),
        (question("json", "Paris"), ['"Paris"'], ["Paris", '"paris"']),
    ],
)
def test_what_is_right_and_what_is_not(asked: Question, right: list[str], wrong: list[str]) -> None:
    assert [is_right(asked, text) for text in right] == [True] * len(right)
    assert [is_right(asked, text) for text in wrong] == [False] * len(wrong)
    assert is_right(question("judge"), "anything") is None


WORDS = st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1)


@given(WORDS, st.sampled_from(["{}", "{}.", "**{}**", '"{}"', "`{}`.", "  {}\n", "_{}!_"]))
def test_an_exact_answer_is_right_however_it_is_set_and_never_when_more_is_said(word: str, setting: str) -> None:
    asked = question("exact", word)
    assert is_right(asked, setting.format(word)) is True
    assert is_right(asked, setting.format(unicodedata.normalize("NFD", word))) is True
    assert word.upper().casefold() != word.casefold() or is_right(asked, setting.format(word.upper())) is True
    assert is_right(asked, setting.format(f"not {word}")) is False


@given(st.integers(-(10**9), 10**9))
def test_numbers_are_read_however_they_are_written(number: int) -> None:
    assert last_number(f"Of 7 I conclude {number:,}.") == number
    assert last_number(f"= {number}") == number


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "expected a JSON object"),
        ("{", "question"),
        ('{"answer": "x"}', "expected `question`"),
        ('{"question": "x", "anwser": 1}', "unknown key `anwser`"),
        ('{"question": "x", "check": "magic"}', "expected `check` to be one of"),
        ('{"question": "x", "check": "numeric", "answer": "many"}', "needs an `answer`, a number"),
        ('{"question": "x", "check": "numeric", "answer": true}', "needs an `answer`, a number"),
        ('{"question": "x", "check": "numeric", "answer": "nan"}', "needs an `answer`, a number"),
        (f'{{"question": "x", "check": "numeric", "answer": 1{"0" * 400}}}', "needs an `answer`, a number"),
        ('{"id": null, "question": "x"}', "`id` to be a text or a whole number"),
        ('{"id": [1], "question": "x"}', "`id` to be a text or a whole number"),
        ('{"question": "x", "check": "regex", "answer": "("}', "no regular expression"),
        ('{"question": "x", "check": "exact"}', "needs an `answer`"),
        ('{"question": "x", "answer": "y", "tolerance": -1}', "`tolerance`"),
        ('{"messages": [{"role": "wizard", "content": "x"}]}', "`role` and a `content`"),
    ],
)
def test_every_fault_of_the_file_is_named_with_its_line(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f'{{"question": "fine"}}\n\n{line}\n{line}\n', "q.jsonl")
    lines = refused.value.message.splitlines()
    assert len(lines) == 2
    assert "line 3" in lines[0]
    assert message in lines[0]
    with pytest.raises(ConfigError, match="stands in an earlier line"):
        parse('{"id": "a", "question": "x"}\n{"id": "a", "question": "y"}')
    with pytest.raises(ConfigError, match="holds none"):
        parse("\n")


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60))
def test_an_interval_holds_its_mean(scores: list[float]) -> None:
    found = mean_of(scores)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert mean_of(scores * 4).high - mean_of(scores * 4).low < found.high - found.low


def test_known_figures() -> None:
    found = mean_of([1.0] * 8 + [0.0] * 2)  # Wilson's interval of 8 of 10, as in any table
    assert (round(found.low, 3), round(found.high, 3)) == (0.49, 0.943)
    assert difference([1, 1, 0], [1, 1, 0]).high == 0
    assert difference([1] * 30, [0] * 30).low == 1
    assert percentile([1, 2, 3, 4], 0.5) == 2.5
    assert math.isnan(percentile([], 0.5))


def test_a_seed_fixes_what_the_bootstrap_draws() -> None:
    mine, theirs = [1, 0, 0.5, 1, 0.5, 0, 1], [0, 0.5, 0.5, 1, 0, 1, 0]
    assert difference(mine, theirs, 1) == difference(mine, theirs, 1)
    assert {difference(mine, theirs, seed).mean for seed in range(3)} == {difference(mine, theirs).mean}
    assert len({(mean_of(mine, seed), difference(mine, theirs, seed)) for seed in range(8)}) > 1


CONFIG = """
[[model]]
name = "glm"
api_base = "{base}"
[[model]]
name = "kimi"
api_base = "{base}"
[[model]]
name = "judge"
api_base = "{base}"
[workflow-integration]
json = '{{"workers": ["glm", "kimi"], "selector": "judge"}}'
"""
QUESTIONS = [question("numeric", 4, text="2 + 2", id="a"), question("judge", text="Tell me", id="b")]
NAMES = ["glm", "kimi", "chorus"]


def prefers_right(request: Recorded) -> Say:
    """A judge that likes what says 4."""
    blocks = re.findall(r'<candidate label="(\w)".*?>\n(.*?)\n</candidate', request.last_user_text, re.DOTALL)
    best = next((label for label, text in blocks if "4" in text), blocks[0][0])
    return Say(json.dumps({"choice": best, "reason": "it is right"}))


@pytest.fixture
async def upstream() -> Any:
    async with ScriptedUpstream() as scripted:
        scripted.on("glm", Say("it is 5")).on("kimi", Say("it is 4")).on("judge", prefers_right)
        yield scripted


@pytest.fixture
async def chorus(upstream: ScriptedUpstream) -> Any:
    chorus = Chorus(
        configuration.loads(CONFIG.format(base=upstream.api_base), environ={}, find_problems=workflow_problems)
    )
    yield chorus
    await chorus.aclose()


async def evaluated(chorus: Chorus, results: ResultFile) -> Summary:
    await ask_all(chorus, QUESTIONS, NAMES, results, concurrency=2, tick=lambda: None)
    await judge_all(chorus, QUESTIONS[1:], NAMES, results, judge="judge", concurrency=2, tick=lambda: None)
    return summarise(QUESTIONS, NAMES[:2], NAMES[2:], results.by_key)


async def test_everybody_is_asked_and_graded(chorus: Chorus, tmp_path: Path) -> None:
    results = ResultFile(tmp_path / "results.jsonl", {"v": "1"})
    summary = await evaluated(chorus, results)
    results.close()
    assert {key: result.score for key, result in results.by_key.items()} == {
        ("a", "glm"): 0,
        ("a", "kimi"): 1,
        ("a", "chorus"): 1,
        ("b", "glm"): 0.5,
        ("b", "kimi"): 1,
        ("b", "chorus"): 1,
    }
    glm, kimi, workflow = summary.rows
    assert (glm.quality.mean, kimi.quality.mean, workflow.quality.mean) == (0.25, 1, 1)
    assert (kimi.over_best, workflow.calls) == (None, 3)
    [judged] = summary.judged
    assert (judged.oracle, judged.selected, judged.chance, judged.decided) == (1, 1, 0.5, 1)
    assert [contrast.theirs.contestant for contrast in summary.contrasts] == []


async def test_a_second_run_asks_nothing_again(chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = ResultFile(path, {"v": "1"})
    first = await evaluated(chorus, results)
    results.close()
    asked = len(upstream.requests)
    path.write_bytes(path.read_bytes() + b'{"id": "a", "cont')  # the process was killed in mid-line
    again = ResultFile(path, {"v": "1"})
    assert await evaluated(chorus, again) == first
    again.close()
    assert len(upstream.requests) == asked
    with pytest.raises(ChorusError, match="results of other questions"):
        ResultFile(path, {"v": "2"})


@pytest.mark.parametrize("theirs", [b"my own notes", b"my own notes\n", b'{"v":"2"', b'{"v":"1"}\nnot a result\n'])
def test_a_file_that_is_none_of_ours_is_left_as_it_is(theirs: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(theirs)
    with pytest.raises(ChorusError, match=re.escape(str(path))):
        ResultFile(path, {"v": "1"})
    assert path.read_bytes() == theirs


@given(st.integers(0, 200))
def test_wherever_a_file_was_cut_what_is_whole_is_kept(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "results.jsonl"
    whole = ResultFile(path, {"v": "1"})
    for number in range(3):
        whole.add(Result(str(number), "glm", "a\nb\u2028c", 1.0))
    whole.close()
    text = path.read_bytes()
    path.write_bytes(text[: min(cut, len(text))])
    again = ResultFile(path, {"v": "1"})
    assert len(again.by_key) == max(text[:cut].count(b"\n") - 1, 0)
    for number in range(3):
        if (str(number), "glm") not in again.by_key:
            again.add(Result(str(number), "glm", "a\nb\u2028c", 1.0))
    again.close()
    assert path.read_bytes() == text


async def test_a_failure_is_a_wrong_answer_with_its_reason(
    chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.on("glm", Status(400))
    results = ResultFile(tmp_path / "results.jsonl", {})
    await ask_all(chorus, QUESTIONS[:1], ["glm"], results, concurrency=1, tick=lambda: None)
    results.close()
    found = results.by_key["a", "glm"]
    assert found.score == 0
    assert found.error.startswith("upstream_refused: ")
    summary = summarise(QUESTIONS[:1], ["glm"], [], results.by_key)
    assert [(each.contestant, each.error) for each in summary.failures] == [("glm", found.error)]
    assert "Answers that did not come" in html(summary, "Chorus")


async def test_a_judge_who_fails_ends_it_with_one_sentence_and_what_it_said_is_kept(
    chorus: Chorus, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    results = ResultFile(tmp_path / "results.jsonl", {})
    await ask_all(chorus, QUESTIONS[1:], NAMES, results, concurrency=2, tick=lambda: None)
    upstream.on("judge", Status(400))
    with pytest.raises(ChorusError, match="the judge 'judge' does not answer"):
        await judge_all(chorus, QUESTIONS[1:], NAMES, results, judge="judge", concurrency=1, tick=lambda: None)
    assert [results.by_key["b", who].score for who in NAMES] == [0.5, None, None]
    upstream.on("judge", prefers_right)
    await judge_all(chorus, QUESTIONS[1:], NAMES, results, judge="judge", concurrency=1, tick=lambda: None)
    results.close()
    assert [results.by_key["b", who].score for who in NAMES] == [0.5, 1, 1]


async def test_a_judge_is_asked_in_both_orders(chorus: Chorus, upstream: ScriptedUpstream) -> None:
    asked = question("judge")
    assert await compare(chorus, "judge", asked, "4", "5") == 1
    assert await compare(chorus, "judge", asked, "5", "4") == 0
    # it takes the first one, whichever that is
    assert await compare(chorus, "judge", asked, "5", "6") == 0.5
    assert await compare(chorus, "judge", asked, "same", "same") == 0.5
    upstream.on("judge", Say("no idea"))
    assert await compare(chorus, "judge", asked, "4", "5") == 0.5
    upstream.on("judge", Status(400))
    with pytest.raises(ChorusError, match="the judge 'judge' does not answer"):
        await compare(chorus, "judge", asked, "4", "5")


def test_the_report_is_whole_escaped_and_always_the_same() -> None:
    poison = '<script>alert("x")</script>'
    found = {
        ("1", "glm"): Result("1", "glm", poison, 0.0, 1.0, 10, 0.5, 1),
        ("1", "chorus"): Result(
            "1",
            "chorus",
            "4",
            1.0,
            2.0,
            30,
            1.5,
            3,
            candidates=(WorkerAnswer("glm", poison, 0.0), WorkerAnswer("kimi", "4", 1.0)),
            selected=1,
            selector="ok",
            shortcuts={"agreement": 3},
        ),
    }
    summary = summarise([question("numeric", 4, text=poison)], ["glm"], ["chorus"], found)
    page = html(summary, "Chorus")
    assert page == html(summary, "Chorus")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2
    for text in ("agreement", "Selectors", "100.0 %", "1500.00"):
        assert text in page
    [saved] = summary.saved
    assert (saved.times, saved.calls, saved.tokens, saved.cost) == (1, 3, 30, 1.5)


async def test_a_server_that_is_full_is_a_failure_like_any_other(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    narrow = "[server]\nmax_concurrency = 1\nmax_waiting = 1\n" + CONFIG.format(base=upstream.api_base)
    chorus = Chorus(configuration.loads(narrow, environ={}, find_problems=workflow_problems))
    results = ResultFile(tmp_path / "results.jsonl", {})
    asked = [question("numeric", 4, id=str(number)) for number in range(3)]
    await ask_all(chorus, asked, ["kimi"], results, concurrency=3, tick=lambda: None)
    results.close()
    await chorus.aclose()
    errors = sorted(result.error.partition(":")[0] for result in results.by_key.values())
    assert errors == ["", "", "queue_full"]


@pytest.mark.parametrize(("amount", "shown"), [(0, "0.00"), (0.00123, "0.0012"), (0.5, "0.50"), (1500, "1500.00")])
def test_small_amounts_keep_their_digits(amount: float, shown: str) -> None:
    assert money(amount) == shown


def test_few_questions_come_with_a_warning() -> None:
    def page(count: int) -> str:
        found = {(str(n), "glm"): Result(str(n), "glm", "4", 1.0) for n in range(count)}
        return html(summarise([question("numeric", 4, id=str(n)) for n in range(count)], ["glm"], [], found), "Chorus")

    assert "too narrow" in page(29)
    assert "too narrow" not in page(30)


def test_a_report_of_nothing_yet_says_so() -> None:
    summary = summarise([question("numeric", 4)], ["glm"], ["chorus"], {})
    page = html(summary, "Chorus")
    assert not summary.complete
    assert "Not every contestant" in page
    assert "nan" not in page


async def test_the_example_is_one_that_the_demo_can_answer(tmp_path: Path) -> None:
    asked = load(ROOT / "examples" / "questions.jsonl")
    models = ["demo-librarian", "demo-abacus", "demo-scribe"]
    chorus = Chorus(demo_config())
    results = ResultFile(tmp_path / "results.jsonl", {})
    await ask_all(chorus, asked, models, results, concurrency=8, tick=lambda: None)
    results.close()
    await chorus.aclose()
    for each in asked:
        assert any(results.by_key[each.id, who].score == 1 for who in models), each.id
