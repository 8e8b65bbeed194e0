"""The command line as its users meet it: exit codes, messages, files (C1, C6, C8, C10, C11)."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from chorus import __version__
from chorus.cli.lazy import COMMANDS
from tests.kit import Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.command import chorus, environment, new_process, process

ROOT = Path(__file__).resolve().parents[2]

TWO_MODELS = """
[[model]]
name = "glm"
api_base = "http://127.0.0.1:9/v1"

[[model]]
name = "kimi"
api_base = "http://127.0.0.1:9/v1"
"""


def written(folder: Path, text: str, name: str = "config.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.requirement("C11")
def test_the_help_names_every_command_without_an_import(tmp_path: Path) -> None:
    code = "import sys; from chorus.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(tmp_path, {}), cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0
    named = {line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line[2:3].strip()}
    assert named == COMMANDS.keys()
    assert "chorus.cli" in done.stderr.split()
    # each of them takes longer than the whole of the help
    assert {"chorus.config", "chorus.service", "pydantic", "aiohttp", "uvicorn"}.isdisjoint(done.stderr.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(command: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"chorus.cli.{command}")
    own = module.app.info.help if hasattr(module, "app") else module.run.__doc__
    assert " ".join(own.split()).startswith(COMMANDS[command])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.requirement("C11")
def test_every_help_shows_an_example(command: str, tmp_path: Path) -> None:
    done = chorus(command, "--help", home=tmp_path)
    assert done.returncode == 0
    assert f"chorus {command}" in done.stdout.split("Example:")[1]


def test_version(tmp_path: Path) -> None:
    assert new_process("version", home=tmp_path).stdout.strip() == __version__
    assert chorus("--version", home=tmp_path).stdout.strip() == __version__


@pytest.mark.parametrize("args", [["nonsense"], ["serve", "--port", "x"], ["serve", "--port", "70000"], ["ask"]])
@pytest.mark.requirement("C11")
def test_wrong_usage_is_2(args: list[str], tmp_path: Path) -> None:
    assert chorus(*args, home=tmp_path).returncode == 2


@pytest.mark.requirement("C11")
def test_the_exit_codes_are_those_of_the_process(tmp_path: Path) -> None:
    assert new_process("nonsense", home=tmp_path).returncode == 2
    assert new_process("check", "missing.toml", home=tmp_path).returncode == 2


@pytest.mark.requirement("C1")
def test_no_file_anywhere_names_three_ways_on(tmp_path: Path) -> None:
    done = chorus("serve", home=tmp_path)
    assert done.returncode == 2
    assert all(way in done.stderr for way in ("chorus init", "--config", "chorus demo"))


@pytest.mark.requirement("C1")
def test_a_named_file_that_is_missing_never_falls_through(tmp_path: Path) -> None:
    good = written(tmp_path, TWO_MODELS)
    done = chorus("check", "--config", str(tmp_path / "missing.toml"), home=tmp_path, CHORUS_CONFIG=good)
    assert done.returncode == 2
    assert "missing.toml" in done.stderr
    done = chorus("check", home=tmp_path, CHORUS_CONFIG=str(tmp_path / "gone.toml"))
    assert done.returncode == 2
    assert "gone.toml" in done.stderr


@pytest.mark.parametrize("command", ["serve", "check", "models"])
@pytest.mark.requirement("C8")
def test_undefined_models_are_refused_in_exactly_this_sentence(command: str, tmp_path: Path) -> None:
    tree = '{"workers": ["zeta", "glm", {"workers": ["alpha", "zeta"]}], "selector": "glm", "synthesizer": "beta"}'
    path = written(tmp_path, TWO_MODELS + f"\n[workflow-integration]\njson = '''{tree}'''\n")
    done = chorus(command, "--config", path, home=tmp_path)
    assert done.returncode == 2
    assert "Workflow configuration references undefined model(s): alpha, beta, zeta" in done.stderr.splitlines()


@pytest.mark.requirement("C2")
def test_faults_of_the_file_and_of_its_workflows_come_together(tmp_path: Path) -> None:
    text = TWO_MODELS.replace("[[model]]", "[[model]]\ntemprature = 1", 1)
    text += '\n[workflow-integration]\njson = \'\'\'{"workers": ["glm", "nope"], "selector": {"rf": "glm"}}\'\'\'\n'
    done = chorus("check", "--config", written(tmp_path, text), home=tmp_path)
    assert done.returncode == 2
    assert "temprature" in done.stderr
    assert "temperature" in done.stderr
    assert "selector" in done.stderr


@pytest.mark.parametrize("name", ["config-example.toml", "config-json-format-example.toml", "test-old-config.toml"])
@pytest.mark.requirement("T4")
def test_the_shipped_examples_check(name: str, tmp_path: Path) -> None:
    done = chorus("check", name, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "candidates" in done.stdout


@pytest.mark.requirement("C6")
def test_check_prints_the_tree_and_the_calls(tmp_path: Path) -> None:
    tree = '{"workers": ["glm", "kimi"], "selector": "glm", "synthesizer": "kimi"}'
    text = TWO_MODELS + f"\n[workflow-integration]\nnested_worker_depth = 3\njson = '''{tree}'''\n"
    done = chorus("check", written(tmp_path, text), home=tmp_path)
    assert "chorus: 8 candidates, 22 calls" in done.stdout


PRICED = """
[[model]]
name = "glm"
api_base = "http://127.0.0.1:9/v1"
price = { input = 1.0, output = 10.0 }

[[model]]
name = "kimi"
api_base = "http://127.0.0.1:9/v1"

[workflow-integration]
json = '''{"workers": ["glm", WORKER], "selector": "glm", "agreement": {"threshold": 2}, "hedge": {"after_secs": 5}}'''
"""


@pytest.mark.requirement("C6")
def test_check_says_what_a_request_takes_before_it_is_paid(tmp_path: Path) -> None:
    path = written(tmp_path, PRICED.replace("WORKER", '"glm"'))
    *_, calls, cost = chorus("check", path, home=tmp_path).stdout.splitlines()
    assert calls.strip() == (
        "at most 4 calls (1 of them only where a model is late or fails; at least 2 with its shortcuts); "
        "at worst 125 s to the first word"
    )
    assert cost.strip() == "at most about $0.0250 for 1,000 prompt and 500 answer tokens each"
    longer = chorus("check", path, "--prompt-tokens", "2000000", "--answer-tokens", "0", home=tmp_path).stdout
    assert "at most about $8.00 for 2,000,000 prompt and 0 answer tokens each" in longer


@pytest.mark.requirement("C6")
def test_check_names_the_models_without_a_price(tmp_path: Path) -> None:
    some = chorus("check", written(tmp_path, PRICED.replace("WORKER", '"kimi"')), home=tmp_path).stdout
    assert "at most about $0.0130 for 1,000 prompt and 500 answer tokens each (no price known: kimi)" in some
    tree = '{"workers": ["glm", "kimi"], "selector": "glm"}'
    text = TWO_MODELS + f"\n[workflow-integration]\njson = '''{tree}'''\n"
    assert "  no price known: glm, kimi\n" in chorus("check", written(tmp_path, text), home=tmp_path).stdout


@pytest.mark.parametrize("tokens", ["-1", "many"])
@pytest.mark.requirement("C11")
def test_check_takes_tokens_that_can_be_counted_only(tokens: str, tmp_path: Path) -> None:
    assert chorus("check", written(tmp_path, TWO_MODELS), "--prompt-tokens", tokens, home=tmp_path).returncode == 2


@pytest.mark.requirement("C10")
def test_migrate_rewrites_once_and_keeps_a_backup(tmp_path: Path) -> None:
    old = (ROOT / "test-old-config.toml").read_text(encoding="utf-8")
    path = written(tmp_path, old)
    dry = chorus("migrate", path, "--dry-run", home=tmp_path)
    assert "[workflow-integration]" in dry.stdout
    assert Path(path).read_text(encoding="utf-8") == old
    assert chorus("migrate", path, home=tmp_path).returncode == 0
    assert (tmp_path / "config.toml.bak").read_text(encoding="utf-8") == old
    new = Path(path).read_text(encoding="utf-8")
    assert new == dry.stdout
    assert "nothing was changed" in chorus("migrate", path, home=tmp_path).stdout
    assert Path(path).read_text(encoding="utf-8") == new
    assert chorus("check", path, home=tmp_path).stderr == ""


@pytest.mark.requirement("C10")
def test_serve_migrates_an_old_file_in_memory_and_names_the_command(tmp_path: Path) -> None:
    old = (ROOT / "test-old-config.toml").read_text(encoding="utf-8")
    with ServerProcess(old) as server:
        assert server.config_path.read_text(encoding="utf-8") == old
        assert f"chorus migrate {server.config_path}" in server.log
    assert server.exit_code == 0


@pytest.mark.requirement("C10")
def test_serve_migrate_rewrites_the_file_first(tmp_path: Path) -> None:
    old = (ROOT / "test-old-config.toml").read_text(encoding="utf-8")
    path = written(tmp_path, old)
    with ServerProcess(args=["serve", "--migrate", "--config", path]) as server:
        assert Path(path).read_text(encoding="utf-8") != old
    assert (tmp_path / "config.toml.bak").exists()
    assert "warning" not in server.log


@pytest.mark.requirement("C11")
def test_models_lists_models_and_workflows(tmp_path: Path) -> None:
    done = chorus("models", "--config", "config-json-format-example.toml", home=tmp_path)
    assert done.stdout.splitlines()[0].split()[:4] == ["chorus", "workflow", "10", "calls"]


@pytest.mark.requirement("C11")
@pytest.mark.requirement("M1")
def test_ask_shows_the_stages_and_answers(tmp_path: Path) -> None:
    done = process("ask", "--demo", "What is 17 * 23?", home=tmp_path)
    assert done.returncode == 0
    assert "391" in done.stdout
    for stage in ("analyzer", "worker demo-abacus", "selector", "synthesizer"):
        assert stage in done.stderr


def test_ask_says_why_there_is_no_answer(tmp_path: Path) -> None:
    done = process("ask", "--config", written(tmp_path, TWO_MODELS), "--model", "glm", "How?", home=tmp_path)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    done = process("ask", "--config", written(tmp_path, TWO_MODELS), "--model", "gml", "How?", home=tmp_path)
    assert "did you mean glm" in done.stderr


@pytest.mark.requirement("C11")
def test_init_writes_a_file_that_works(tmp_path: Path) -> None:
    with ScriptedUpstream.in_thread() as ollama:
        ollama.on("/api/tags", Say("")).on("llama3", Say("hello from llama"))
        path = tmp_path / "made" / "config.toml"
        keys = {"DEEPSEEK_API_KEY": "sk-planted-deepseek-key", "OLLAMA_HOST": ollama.base}
        done = chorus("init", "--config", str(path), home=tmp_path, **keys)
        assert done.returncode == 0, done.stderr
        text = path.read_text(encoding="utf-8")
        assert "${DEEPSEEK_API_KEY}" in text
        assert "sk-planted" not in text + done.stdout
        assert chorus("check", str(path), home=tmp_path, **keys).returncode == 0
        again = chorus("init", "--config", str(path), home=tmp_path, **keys)
        assert again.returncode == 1
        assert "--force" in again.stderr


def test_init_that_finds_nothing_says_what_would_help(tmp_path: Path) -> None:
    with ScriptedUpstream.in_thread() as away:
        away.on("/api/tags", Status(404))
        done = chorus("init", "--config", str(tmp_path / "x.toml"), home=tmp_path, OLLAMA_HOST=away.base)
    assert done.returncode == 1
    assert "chorus demo" in done.stderr
    assert not (tmp_path / "x.toml").exists()


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with ServerProcess(args=["demo"]) as server:
        done = process("demo", "--port", str(server.port), home=tmp_path)
    assert done.returncode == 1
    assert "is Chorus running already?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.requirement("M6")
def test_check_names_the_models_that_spend_no_budget(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_MODELS)
    assert "no price" not in chorus("check", path, home=tmp_path).stderr
    chorus("keys", "create", "laptop", "--budget", "10", home=tmp_path)
    warned = chorus("check", path, home=tmp_path).stderr
    assert "warning: these models have no price, and spend no budget of a key (laptop): glm, kimi" in warned
