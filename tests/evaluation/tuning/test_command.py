"""`chorus tune` as its users meet it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from chorus import config as configuration
from chorus.cli import app
from chorus.errors import ChorusError, ConfigError
from chorus.tunings import Tuning
from chorus.workflow import kinds as node_kinds

ROOT = Path(__file__).parents[3]
DEMO = (ROOT / "chorus" / "cli" / "demo.toml").read_text(encoding="utf-8")
SUMS = [{"id": str(n), "question": f"What is {n} * 7 + 1?", "answer": 7 * n + 1, "check": "numeric"} for n in range(8)]


def chorus(*args: object, code: int = 0) -> str:
    """Run a command in this process; what it says on standard output. Raises its typed error."""
    done = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation of two demo models and a workflow of two teams."""
    folder = tmp_path_factory.mktemp("evaluated")
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in SUMS), encoding="utf-8")
    models = "demo-abacus,demo-librarian,demo-generalist"
    chorus("eval", questions, "--demo", "--models", models, "--workflow", "chorus/nested", "--out", folder / "results")
    return folder / "results"


@pytest.fixture
def results(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(evaluated, tmp_path / "results"))


def test_it_prints_the_frontier_and_draws_it_in_the_report(results: Path) -> None:
    evaluated = (results / "report.html").read_text(encoding="utf-8")
    printed = chorus("tune", results)
    for expected in (
        "quality (95 %)",
        "cost/1,000",
        "p50",
        "p95",
        "calls",
        "recommended",
        "best single",
        "chorus/nested",
    ):
        assert expected in printed
    assert "The oracle, which always takes the best stored answer, has 100.0 %" in " ".join(printed.split())
    assert "panels were compared" in " ".join(printed.split())
    assert "the best of many looks better than it is" in " ".join(printed.split())
    page = (results / "report.html").read_text(encoding="utf-8")
    assert page.startswith(evaluated[: evaluated.index("</body>")])
    assert page.count('aria-label="Quality over') == 2
    assert chorus("tune", results) == printed
    assert (results / "report.html").read_text(encoding="utf-8") == page


def test_the_outcome_is_kept_for_programs_and_the_page(results: Path) -> None:
    printed = " ".join(chorus("tune", results).split())
    kept = (results / "tuning.json").read_bytes()
    tuning = msgspec.json.decode(kept, type=Tuning)
    assert f"{tuning.questions} questions, {tuning.compared:,} panels compared" in printed
    assert len(tuning.points) == tuning.compared  # fewer than a plot draws
    assert [mark for row in tuning.rows for mark in row.marks].count("recommended") == 1
    for row in tuning.rows:
        assert f"{100 * row.quality.mean:.1f} %" in printed
        assert row.quality.low <= row.quality.mean <= row.quality.high
        if "today" in row.marks:
            assert row.toml == ""
        else:
            loaded = configuration.loads(DEMO + row.toml, source="", environ={})
            assert loaded.workflows["tuned"].description == f"chosen by chorus tune: {row.name}"
    assert all(sentence in printed for sentence in tuning.sentences.en)
    assert len(tuning.sentences.en) == len(tuning.sentences.zh)
    chorus("tune", results)
    assert (results / "tuning.json").read_bytes() == kept
    chorus("tune", results, "--max-p95", "0", code=1)
    tuning = msgspec.json.decode((results / "tuning.json").read_bytes(), type=Tuning)
    assert {mark for row in tuning.rows for mark in row.marks} == {"today"}


def test_a_bound_that_nothing_meets_is_said(results: Path) -> None:
    printed = " ".join(chorus("tune", results, "--max-p95", "0", code=1).split())
    assert "No panel is within the bounds. Without them the best" in printed
    assert "the quickest has a p95 of" in printed
    with pytest.raises(ChorusError, match="needs prices"):
        chorus("tune", results, "--max-cost", "1")


def test_new_verdicts_are_at_most_as_many_as_allowed_and_are_kept(results: Path) -> None:
    printed = chorus("tune", results, "--judge-calls", 5, "--demo")
    kept = (results / "verdicts.jsonl").read_bytes()
    calls = len(kept.splitlines()) - 1  # the first line names the evaluation
    assert 0 < calls <= 5
    assert f"{calls} new calls of judges were spent" in printed
    assert chorus("tune", results, "--judge-calls", 5, "--demo") == printed
    assert (results / "verdicts.jsonl").read_bytes() == kept
    # killed in the middle of a line: the next run goes on
    (results / "verdicts.jsonl").write_bytes(kept[:-20])
    assert f"{calls} new calls" in chorus("tune", results, "--judge-calls", 5, "--demo")
    assert len((results / "verdicts.jsonl").read_bytes().splitlines()) == calls + 1
    (results / "verdicts.jsonl").write_bytes(b'{"questions": "others"}\n')
    with pytest.raises(ChorusError, match="other questions"):
        chorus("tune", results, "--judge-calls", 5, "--demo")


def test_the_recommended_panel_is_written_below_what_is_there(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(DEMO, encoding="utf-8")
    chorus("tune", results, "--write", "tuned", "--config", path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(DEMO.rstrip())
    assert "# From the evaluation in results" in text
    loaded = configuration.loads(text, source="", environ={})
    assert "tuned" in loaded.workflows
    with pytest.raises(ConfigError, match="there is one already"):
        chorus("tune", results, "--write", "tuned", "--config", path)
    with pytest.raises(ConfigError, match="--config"):
        chorus("tune", results, "--write", "other")
    assert path.read_text(encoding="utf-8") == text


def test_what_is_wrong_with_the_name_or_the_file_is_said_before_the_search(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(DEMO, encoding="utf-8")
    for name, config, sentence in (
        ("a b", path, "letters, digits"),
        ("nested", path, "one already"),
        ("x", tmp_path, "read"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            chorus("tune", results, "--write", name, "--config", config)
    assert not (results / "tuning.json").exists()
    path.write_text('[[model]]\nname = "other"\nprovider = "demo"\nmodel = "demo-abacus"\n', encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="undefined model"):
        chorus("tune", results, "--write", "tuned", "--config", path)
    assert path.read_bytes() == before


def test_a_kind_of_node_that_is_not_installed_is_not_written(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(DEMO, encoding="utf-8")
    installed = node_kinds.installed()
    monkeypatch.setattr(node_kinds, "installed", lambda: {k: v for k, v in installed.items() if k != "majority"})
    with pytest.raises(ConfigError, match="majority"):  # that of a single model
        chorus("tune", results, "--write", "tuned", "--config", path)
    assert path.read_text(encoding="utf-8") == DEMO


def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChorusError, match="no folder of `chorus eval`"):
        chorus("tune", tmp_path)


def test_a_folder_that_is_broken_or_half_written(results: Path) -> None:
    path = results / "results.jsonl"
    whole = path.read_bytes()
    lines = whole.split(b"\n")
    broken = {
        "has no result yet": lines[0] + b"\n",
        "line 3 is no result": b"\n".join([*lines[:2], b"{half", *lines[3:]]),
        "not as this version writes it": whole.replace(b'"workers":[', b'"workers":7,"old":[', 1),
        "1 of 1 questions; it takes at least 2": b"\n".join(
            [lines[0], *(line for line in lines if b'"id":"0"' in line), b""]
        ),
    }
    for sentence, content in broken.items():
        path.write_bytes(content)
        with pytest.raises(ChorusError, match=sentence):
            chorus("tune", results)
    path.write_bytes(whole[:-30])  # killed in the middle of a line
    (results / "report.html").write_bytes(b"\xff")
    printed = " ".join(chorus("tune", results).split())
    assert "Questions left out, since an answer or its score is missing: 1." in printed


def test_questions_for_a_judge_are_tuned_by_the_scores_of_single_answers(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    asked = [{"id": str(n), "question": f"What is {n} * 7 + 1?"} for n in range(3)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    out = tmp_path / "results"
    options = ("--demo", "--workflow", "chorus", "--judge", "demo-judge", "--out", out)
    chorus("eval", questions, *options)
    printed = chorus("tune", out)
    assert "judge demo-judge" in printed or "demo-judge, fitted to" in " ".join(printed.split())
