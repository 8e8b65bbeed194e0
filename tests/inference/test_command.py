"""`chorus worker`: flags, environment and table; its errors; its end."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import httpx
import pytest

from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.command import chorus, process
from tests.kit.fixtures import upstream
from tests.kit.worker import WorkerProcess

__all__ = ["upstream"]
pytestmark = pytest.mark.requirement("I1")

GATEWAY = """
[[model]]
name = "glm"
provider = "grpc"
api_base = "{address}"
"""


def say(server: ServerProcess, text: str) -> str:
    body = {"model": "glm", "messages": [{"role": "user", "content": text}]}
    reply = httpx.post(f"{server.base}/v1/chat/completions", json=body, timeout=30)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


def test_a_gateway_answers_with_a_worker() -> None:
    with WorkerProcess("--engine", "echo", "--name", "glm") as worker:
        with ServerProcess(GATEWAY.format(address=worker.api_base)) as server:
            assert say(server, "one two three") == "one two three"
        assert worker.metric("llm_generated_tokens_total") == 3
    assert worker.exit_code == 0


def test_the_environment_beats_the_table_and_flags_beat_both(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text('[worker]\nengine = "echo"\nname = "table"\nmax_waiting = 3\n')
    arguments = ("--config", str(config))
    with WorkerProcess(*arguments) as worker:
        assert "The worker 'table' (echo)" in worker.log
    with WorkerProcess(*arguments, env={"CHORUS_WORKER_NAME": "variable"}) as worker:
        assert "The worker 'variable' (echo)" in worker.log
    with WorkerProcess(*arguments, "--name", "flag", env={"CHORUS_WORKER_NAME": "variable"}) as worker:
        assert "The worker 'flag' (echo)" in worker.log


def test_a_variable_that_sets_nothing_is_named() -> None:
    env = {"CHORUS_WORKER_METRICS_HOST": "0.0.0.0", "CHORUS_WORKER_NAME": "glm"}
    with WorkerProcess("--engine", "echo", env=env) as worker:
        assert "warning: CHORUS_WORKER_METRICS_HOST: no variable of the worker, sets nothing" in worker.log
    with WorkerProcess("--engine", "echo", env={"CHORUS_WORKER_NAME": "glm", "CHORUS_WORKER_API_KEY": "k"}) as worker:
        assert "warning" not in worker.log


def test_the_key_of_its_upstream_may_be_in_a_file(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.on("glm", Say("Well."))
    (tmp_path / "key").write_text("worker-key-0123\n")
    env = {"CHORUS_WORKER_API_KEY_FILE": str(tmp_path / "key"), "CHORUS__WORKER__NAME": "glm"}
    with (
        WorkerProcess("--engine", "openai", "--model", upstream.api_base, env=env) as worker,
        ServerProcess(GATEWAY.format(address=worker.api_base)) as server,
    ):
        assert say(server, "How?") == "Well."
    assert upstream.requests[-1].headers["authorization"] == "Bearer worker-key-0123"


def test_an_answer_ends_before_the_worker_does() -> None:
    worker = WorkerProcess("--engine", "echo", "--name", "glm", "--option", "delay_secs=0.05")
    with worker, ServerProcess(GATEWAY.format(address=worker.api_base)) as server:
        body = {"model": "glm", "prompt": " ".join(["word"] * 20)}
        with httpx.stream("POST", f"{server.base}/api/generate", json=body, timeout=30) as reply:
            lines = reply.iter_lines()
            next(lines)
            worker.signal(signal.SIGTERM)
            last = list(lines)[-1]
        assert '"done":true' in last
        assert worker.wait() == 0


def test_a_second_signal_ends_it_at_once() -> None:
    worker = WorkerProcess("--engine", "echo", "--name", "glm", "--option", "delay_secs=30")
    with worker, ServerProcess(GATEWAY.format(address=worker.api_base)) as server:
        body = {"model": "glm", "prompt": "a", "stream": False}
        asking = threading.Thread(target=httpx.post, args=(f"{server.base}/api/generate",), kwargs={"json": body})
        asking.start()
        worker.until(lambda: worker.metric("llm_active_requests") == 1)
        worker.signal(signal.SIGTERM)
        worker.until(lambda: "the worker drains" in worker.log)
        worker.signal(signal.SIGTERM)  # some send it twice at once
        worker.until(lambda: not _ignores_sigterm(worker.pid))
        worker.signal(signal.SIGTERM)
        assert worker.wait() == -signal.SIGTERM
        asking.join()


def _ignores_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "/nowhere/model.gguf", "--name", "a"), "/nowhere/model.gguf does not exist"),
        (("--model", "org/model", "--name", "a", "--engine", "mlx-lm"), "org/model does not exist"),
        (("--model", "/nowhere/m.gguf", "--name", "a", "--engine", "llamacpp"), "/nowhere/m.gguf does not exist"),
        (("--model", "/nowhere", "--name", "a", "--engine", "openai"), "expected the address of a server"),
        (("--engine", "echo"), "--name: missing"),
        (("--name", "a"), "model: missing"),
        (("--name", "a", "--engine", "magic"), "expected one of mlx-lm, llamacpp, openai, echo"),
        (("--name", "a", "--engine", "echo", "--chat-template", "/nowhere.jinja"), "/nowhere.jinja cannot be read"),
        (("--name", "a", "--engine", "echo", "--option", "n_ctx"), "expected KEY=VALUE"),
        (("--config", "/nowhere.toml"), "the file /nowhere.toml does not exist"),
    ],
)
def test_what_cannot_be_served_is_a_sentence_and_exit_code_2(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    done = chorus("worker", *arguments, home=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_faults_of_the_table_are_those_of_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text('[worker]\nport = "x"\nnam = "y"\n')
    done = chorus("worker", "--config", str(config), home=tmp_path)
    assert done.returncode == 2
    assert "[worker] port" in done.stderr
    assert "did you mean `name`?" in done.stderr
    check = chorus("check", "--config", str(config), home=tmp_path)
    assert "did you mean `name`?" in check.stderr + check.stdout


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    with WorkerProcess("--engine", "echo", "--name", "glm") as worker:
        port = worker.address.rsplit(":", 1)[1]
        done = process(
            "worker", "--engine", "echo", "--name", "b", "--port", port, "--metrics-port", "0", home=tmp_path
        )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
