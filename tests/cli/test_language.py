"""The commands in Chinese, by the environment (C11)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from chorus.cli import app
from chorus.cli.chinese import HELP
from chorus.cli.lazy import COMMANDS
from chorus.events import StageStarted
from chorus.telemetry.stage_sentences import StageSentences
from chorus.texts import aligned, language
from tests.kit.command import chorus

pytestmark = [pytest.mark.requirement("C11")]
CONFIG = str(Path(__file__).parents[2] / "config-example.toml")
CHINESE = re.compile(r"[一-鿿]")
_NAMED = re.compile(r"`[^`]+`|--[a-z-]+|\$?CHORUS\w+|\[\w+\]|[A-Z]{4,}|\d+(?:[,.:]\d+)*")
"""What has the same name in every language: commands, options, variables, tables, numbers."""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "ZH_TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({"LANG": "zh_CN", "LC_MESSAGES": "en_US"}, "en"),
        ({"LANG": "zh_CN", "LC_MESSAGES": "zh_CN", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN", "LC_ALL": "", "LC_MESSAGES": ""}, "zh"),
        ({"LC_ALL": "zh_CN", "CHORUS_LANG": "en"}, "en"),
        ({"LC_ALL": "C", "CHORUS_LANG": "zh"}, "zh"),
    ],
)
def test_the_language_is_that_of_the_environment(environ: dict[str, str], expected: str) -> None:
    assert language(environ) == expected


def texts(command: Any) -> Iterator[str]:
    """Every text of the help of `command`, and of those below it."""
    yield from filter(None, [command.help, *(getattr(param, "help", None) for param in command.params)])
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from texts(command.get_command(None, name))


def test_every_help_is_there_in_chinese_and_no_other() -> None:
    shown = {" ".join(text.split()) for text in texts(typer.main.get_command(app))} | {*COMMANDS.values()}
    assert shown == HELP.keys()


@pytest.mark.parametrize("english", HELP)
def test_both_languages_name_the_same(english: str) -> None:
    chinese = HELP[english]
    assert CHINESE.search(chinese)
    assert sorted(_NAMED.findall(chinese)) == sorted(_NAMED.findall(english))


@pytest.mark.parametrize("command", [[], ["eval"], ["keys"], ["keys", "create"], ["serve"]])
def test_the_help_in_chinese(command: list[str], tmp_path: Path) -> None:
    done = chorus(*command, "--help", home=tmp_path, LC_ALL="zh_CN.UTF-8")
    assert done.returncode == 0
    assert done.stdout.startswith("用法：chorus")
    for line in ("选项：", "显示此说明并退出。"):
        assert line in done.stdout
    assert not re.search(r"\b(the|Options|Commands|Show|default|required)\b", done.stdout)
    assert max(map(columns, done.stdout.splitlines())) <= 116
    assert "Usage: chorus" in chorus(*command, "--help", home=tmp_path).stdout


def columns(line: str) -> int:
    """How wide a line is on a terminal."""
    return sum(1 if ord(character) < 0x1100 else 2 for character in line)


def test_a_question_in_chinese_surroundings(tmp_path: Path) -> None:
    done = chorus("ask", "--demo", "What is 17 * 23?", home=tmp_path, CHORUS_LANG="zh")
    assert "391" in done.stdout
    assert "评审 demo-judge" in done.stderr


def test_a_configuration_and_its_keys_in_chinese(tmp_path: Path) -> None:
    tree = chorus("check", CONFIG, home=tmp_path, LANG="zh_CN.UTF-8").stdout.splitlines()
    assert "chorus：3 个候选，6 次调用" in tree
    assert "  分析器       qwen" in tree
    models = chorus("models", "--config", CONFIG, home=tmp_path, LANG="zh_CN.UTF-8").stdout
    assert re.search(r"^chorus +工作流 +6 次调用", models, re.MULTILINE)
    chorus("keys", "create", "手机", "--requests", "60/minute", home=tmp_path)
    [line] = chorus("keys", "list", home=tmp_path, LANG="zh_CN.UTF-8").stdout.splitlines()
    assert line.endswith("永不过期               全部模型, 60/minute 次调用")
    assert columns(line.partition("永")[0]) == 8 + 2 + 6 + 2 + 20 + 2


def test_cells_stand_below_each_other_whatever_their_width() -> None:
    assert aligned([["模型", "是"], ["glm", "no"]]) == ["模型  是", "glm   no"]


def test_what_a_stage_does_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    started = StageStarted(("chorus", "glm"), 0.0, stage="worker", name="glm", model="glm")
    assert StageSentences().sentence(started) == "glm is answering."
    monkeypatch.setenv("CHORUS_LANG", "zh")
    assert StageSentences().sentence(started) == "glm 正在作答。"


def test_an_evaluation_and_its_tuning_in_chinese(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    rows = (f'{{"question": "What is {n} * 7 + 1?", "answer": {7 * n + 1}, "check": "numeric"}}\n' for n in range(3))
    questions.write_text("".join(rows), encoding="utf-8")
    out = str(tmp_path / "results")
    options = ["--demo", "--models", "demo-abacus", "--workflow", "chorus/nested", "--out", out]
    done = chorus("eval", str(questions), *options, home=tmp_path, LANG="zh_CN.UTF-8")
    assert done.returncode == 0, done.stderr
    assert "3 个问题" in done.stdout
    assert "参评者" in done.stdout
    assert "问题太少" in done.stdout
    done = chorus("tune", out, home=tmp_path, LANG="zh_CN.UTF-8")
    assert "推荐：demo-abacus" in done.stdout
    assert "看起来总比实际更好" in done.stdout.replace("\n", "")
    assert "Recommended: demo-abacus" in chorus("tune", out, home=tmp_path).stdout
