"""`chorus eval` as its users meet it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chorus.cli import app
from chorus.errors import ChorusError, ConfigError
from tests.kit import Hang, Recorded, Say, ScriptedUpstream

ROOT = Path(__file__).parents[2]
CONFIG = """
[[model]]
name = "glm"
api_base = "{base}"
[[model]]
name = "kimi"
api_base = "{base}"
[[model]]
name = "ranker"
api_base = "{base}"
capabilities = ["rerank"]
[workflow-integration]
json = '{{"workers": ["glm", "kimi"], "selector": "kimi"}}'
[workflows.ranked]
json = '{{"workers": ["glm", "kimi"], "selector": {{"kind": "reranker", "ref": "ranker"}}}}'
"""


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def configured(folder: Path, base: str) -> Path:
    path = folder / "config.toml"
    path.write_text(CONFIG.format(base=base), encoding="utf-8")
    return path


SUMS = [{"id": str(n), "question": f"What is {n} + 1?", "answer": n + 1, "check": "numeric"} for n in range(4)]
FREE = {"id": "free", "question": "Why is the sky blue?"}


def evaluate(*args: object) -> str:
    """Run it in this process; what it says on standard output. Raises its typed error."""
    done = CliRunner().invoke(app, ["eval", *map(str, args)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def demo(tmp_path: Path) -> list[object]:
    """Options for quick runs: the demo's arithmetic, and a workflow of two."""
    return [
        "--demo",
        "--models",
        "demo-abacus,demo-generalist",
        "--workflow",
        "chorus/nested",
        "--out",
        tmp_path / "out",
    ]


def test_it_prints_a_table_and_writes_a_report(tmp_path: Path, demo: list[object]) -> None:
    printed = evaluate(written(tmp_path, *SUMS[:2]), *demo)
    assert "2 questions" in printed
    for name in ("demo-abacus", "demo-generalist", "chorus/nested"):
        assert name in printed
    assert "best single" in printed
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "chorus/nested on questions.jsonl" in page
    assert "http" not in page


def test_judges_are_measured_on_what_is_stored_and_nothing_is_asked_twice(tmp_path: Path, demo: list[object]) -> None:
    asked = written(tmp_path, *SUMS)
    options = [*demo, "--models", "demo-abacus,demo-generalist,demo-scribe"]
    assert "judges on" not in evaluate(asked, *options)
    printed = evaluate(asked, *options, "--judges", "demo-judge,demo-generalist", "--judge-pairs", 5)
    assert "2 judges on 5 pairs" in printed
    assert 'selector = { ref = "demo-judge"' in printed
    kept = tmp_path / "out" / "judgements.jsonl"
    lines = kept.read_bytes()
    assert len(lines.splitlines()) == 1 + 2 * 5
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "How biased the judges are" in page
    assert evaluate(asked, *options, "--judges", "demo-judge,demo-generalist", "--judge-pairs", 5) == printed
    assert kept.read_bytes() == lines
    evaluate(asked, *options, "--judges", "demo-judge,demo-scribe", "--judge-pairs", 6)
    assert kept.read_bytes().startswith(lines)
    # what is new: a pair, and a judge
    assert len(kept.read_bytes().splitlines()) == 1 + 2 * 5 + 1 + 6


def test_ctrl_c_while_judges_are_asked_shows_what_they_said_and_the_next_run_goes_on(tmp_path: Path) -> None:
    def answer(request: Recorded) -> Say | Hang:
        is_judge = "[Chorus selector]" in request.last_user_text
        if is_judge and is_stuck and sum("[Chorus selector]" in one.last_user_text for one in upstream.requests) > 6:
            return Hang()
        return Say('{"choice": "A"}' if is_judge else "1" if request.json["model"] == "glm" else "it is 2")

    is_stuck = True
    asked, out = written(tmp_path, *SUMS), tmp_path / "out"
    with ScriptedUpstream.in_thread(default=answer) as upstream:
        config = tmp_path / "config.toml"
        text = CONFIG.format(base=upstream.api_base).replace(', "selector": "kimi"', ', "synthesizer": "kimi"')
        config.write_text(text, encoding="utf-8")
        options = ["--config", str(config), "--workflow", "chorus", "--out", str(out), "--concurrency", "1"]
        options += ["--judges", "kimi", "--judge-pairs", "4"]
        command = [sys.executable, "-m", "chorus", "eval", str(asked), *options]
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        going = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        # three pairs, and one that hangs
        upstream.wait_requests_blocking(4 * (2 + 3) + 7, timeout=90)
        going.send_signal(signal.SIGINT)
        printed, errors = going.communicate(timeout=90)
        assert going.returncode == 130, errors
        assert "1 judge on 4 pairs, not all yet" in printed
        assert "Not every judge has compared" in (out / "report.html").read_text(encoding="utf-8")
        assert len((out / "judgements.jsonl").read_bytes().splitlines()) == 1 + 3
        upstream.wait_idle_blocking()
        upstream.forget()
        is_stuck = False
        printed = evaluate(asked, *options)
        assert len(upstream.requests) == 2
        assert "not all yet" not in printed
        assert "prefers what is shown first in 100.0 %" in printed


@pytest.mark.parametrize(
    ("judges", "message"),
    [("nobody", "'nobody' not found"), ("demo-judge,chorus", "'chorus' is a workflow: --judges takes models")],
)
def test_judges_are_looked_for_before_anything_is_asked(
    judges: str, message: str, tmp_path: Path, demo: list[object]
) -> None:
    with pytest.raises(ChorusError, match=message):
        evaluate(written(tmp_path, SUMS[0]), *demo, "--judges", judges)
    assert not (tmp_path / "out").exists()


def test_a_limit_may_grow_and_the_report_is_the_same_for_the_same_results(tmp_path: Path, demo: list[object]) -> None:
    asked = written(tmp_path, *SUMS[:2])
    evaluate(asked, *demo, "--limit", 1)
    evaluate(asked, *demo)
    results, report = tmp_path / "out" / "results.jsonl", tmp_path / "out" / "report.html"
    kept, page = results.read_bytes(), report.read_bytes()
    assert len(kept.splitlines()) == 1 + 2 * 3
    printed = evaluate(asked, *demo)
    assert (results.read_bytes(), report.read_bytes()) == (kept, page)
    assert printed == evaluate(asked, *demo)
    written(tmp_path, *SUMS[2:])
    with pytest.raises(ChorusError, match="results of other questions"):
        evaluate(asked, *demo)


def test_every_result_of_a_workflow_has_its_trace(tmp_path: Path, demo: list[object]) -> None:
    evaluate(written(tmp_path, SUMS[0]), *demo)
    lines = (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    found = {result["contestant"]: result for result in map(json.loads, lines)}
    assert found["chorus/nested"]["trace"]["selector"]["selected_worker"] == "reckoners"
    assert "trace" not in found["demo-abacus"]


def test_a_judge_is_wanted_and_looked_for_before_anything_is_asked(tmp_path: Path, demo: list[object]) -> None:
    asked = written(tmp_path, FREE)
    with pytest.raises(ChorusError, match="--judge demo-abacus"):
        evaluate(asked, *demo)
    with pytest.raises(ChorusError, match="'nobody' not found"):
        evaluate(asked, *demo, "--judge", "nobody")
    assert not (tmp_path / "out").exists()


def test_verdicts_on_another_reference_are_not_mixed(tmp_path: Path, demo: list[object]) -> None:
    asked = written(tmp_path, FREE)
    evaluate(asked, *demo, "--judge", "demo-judge")
    with pytest.raises(ChorusError, match="results of other questions"):
        evaluate(asked, *demo, "--judge", "demo-judge", "--models", "demo-generalist,demo-abacus")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "chorus"], "'chorus' is a workflow, no single model"),
        (["--models", "nobody"], "'nobody' not found"),
        (["--workflow", "demo-abacus"], "no workflow to evaluate"),
    ],
)
def test_names_that_do_not_fit_are_named(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ChorusError, match=message):
        evaluate(written(tmp_path, SUMS[0]), "--demo", "--out", tmp_path / "out", *options)


def test_faults_of_the_file_are_the_users(tmp_path: Path, demo: list[object]) -> None:
    with pytest.raises(ConfigError, match=r"line 1.*\n.*line 2"):
        evaluate(written(tmp_path, {"question": 1}, {"question": 2}), *demo)
    with pytest.raises(ConfigError, match="cannot be read"):
        evaluate(tmp_path / "nowhere.jsonl", *demo)


def test_a_model_that_only_reranks_is_no_contestant(tmp_path: Path) -> None:
    with ScriptedUpstream.in_thread(default=lambda request: Say("1")) as upstream:
        config = configured(tmp_path, upstream.api_base)
        printed = evaluate(written(tmp_path, SUMS[0]), "--config", config, "--out", tmp_path / "out", "--limit", 1)
    assert "chorus/ranked" in printed
    assert "ranker" not in printed


def test_ctrl_c_shows_what_is_there_and_the_next_run_goes_on(tmp_path: Path) -> None:
    def answer(request: Recorded) -> Say | Hang:
        return Hang() if "What is 2" in json.dumps(request.json) else Say("1")

    asked = written(tmp_path, *SUMS)
    out = tmp_path / "out"
    with ScriptedUpstream.in_thread(default=answer) as upstream:
        config = configured(tmp_path, upstream.api_base)
        options = ["--config", str(config), "--workflow", "chorus", "--out", str(out), "--concurrency", "1"]
        command = [sys.executable, "-m", "chorus", "eval", str(asked), *options]
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        going = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        # two questions, and the one that hangs
        upstream.wait_requests_blocking(2 * (2 + 3) + 1, timeout=90)
        going.send_signal(signal.SIGINT)
        printed, errors = going.communicate(timeout=90)
        assert going.returncode == 130, errors
        assert "2 questions, not all yet" in printed
        assert "the same command goes on" in errors
        assert "Traceback" not in errors
        assert "Not every contestant" in (out / "report.html").read_text(encoding="utf-8")
        upstream.wait_idle_blocking()
        upstream.forget()
        upstream.on("glm", Say("1")).on("kimi", Say("1"))
        printed = evaluate(asked, *options)
        assert "4 questions" in printed
        assert "not all yet" not in printed
        assert len(upstream.requests) == 2 * (2 + 3)
