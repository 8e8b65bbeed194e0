"""One task of an agent: to write `hello.txt` with a tool of its own and then to say a sentence."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit.providers import Failure, ModelAnswer, ToolUse

from .comparison import losses
from .recording import RecordingProxy, Sent
from .upstreams import AgentUpstream, Got, Model

SECONDS = 60
FILE = "hello.txt"
CONTENT = "hello 好"
PROMPT = "Write hello.txt"
SENTENCE = "I have written hello.txt."
SIGNATURE = "c2lnbmVk"
THOUGHTS = "A file is wanted, so I write one."
TITLE = "A file"
FREEFORM = "gpt-5.5"
"""A model that Codex offers its freeform `apply_patch` to, as it does to all whose names begin
so.
"""
FREEFORM_FLOW = f"chorus/{FREEFORM}-flow"
WORKERS = ("glm", "kimi")
FULL = (45_000, 7)
"""The usage of a long history.

Three calls of a workflow sum up to more than a window of 128,000.
"""
MISSING = "Missing `reasoning_content` field in the assistant message"
VERDICT = '{"choice": "A", "reason": "it is good", "scores": {"A": 9}}'


def config(upstream: AgentUpstream) -> str:
    """Return a configuration with the models and the workflow `chorus`, under two names, all at the
    upstream.
    """
    entries = "".join(
        f'[[model]]\nname = "{name}"\nretries = 0\n{upstream.model(name)}\n'
        for name in (*WORKERS, "judge", "author", FREEFORM)
    )
    flow = json.dumps({"workers": WORKERS, "selector": "judge", "synthesizer": "author"})
    return f"""{entries}[workflow-integration]
json = '''{flow}'''

[workflows."{FREEFORM}-flow"]
description = "chorus under another name"
json = '''{flow}'''
"""


@dataclass(frozen=True)
class Writer:
    """A model that thinks, calls `tool` once and then says a sentence.

    Like thinking models of Anthropic, OpenAI, DeepSeek and Kimi it answers 400 when its call comes
    back without its thoughts, where `demands_thoughts`.
    """

    tool: str
    arguments: Mapping[str, Any]
    usage: tuple[int, int] = (11, 7)
    demands_thoughts: bool = False

    def __call__(self, got: Got) -> ModelAnswer | Failure:
        if self.demands_thoughts and any(those != THOUGHTS for those in got.thoughts):
            return Failure("refused", MISSING)
        if got.has_results:
            return ModelAnswer(SENTENCE, usage=self.usage)
        if not got.body.get("tools"):
            return ModelAnswer(TITLE, usage=self.usage)
        call = ToolUse(self.tool, self.arguments, "call_1")
        return ModelAnswer(thinking=THOUGHTS, signature=SIGNATURE, calls=(call,), usage=self.usage)


def saying(text: str) -> Model:
    """Return a model that always says this."""
    return lambda got: ModelAnswer(text, usage=FULL)


@dataclass(frozen=True)
class Desk:
    """Where one agent works: an empty folder, a home of its own, and Chorus behind a proxy that
    records.
    """

    folder: Path
    proxy: RecordingProxy
    upstream: AgentUpstream

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def base(self) -> str:
        return self.proxy.base

    def prepare(self, writer: Model, *models: str) -> None:
        """Begin without the file and without recorded requests.

        `models` (the workers) answer as `writer` does.
        """
        self.make_folders()
        (self.work / FILE).unlink(missing_ok=True)
        self.proxy.sent.clear()
        others = {"judge": saying(VERDICT), "author": saying(SENTENCE)}
        self.upstream.play(others | dict.fromkeys(models or WORKERS, writer))

    def make_folders(self) -> None:
        """Make the folders that the agent has."""
        for folder in (self.work, self.home):
            folder.mkdir(exist_ok=True)

    @property
    def env(self) -> dict[str, str]:
        """The environment of an agent: nothing of ours but what every program needs."""
        home = {f"XDG_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        return {**os.environ, **home, "HOME": str(self.home), "PWD": str(self.work), "NO_COLOR": "1", "CI": "1"}

    def run(self, command: list[str], env: Mapping[str, str] | None = None) -> str:
        """Return what the agent prints. Fails where it does not end well within `SECONDS`."""
        with started(command, self.work, self.env | dict(env or {})) as process:
            try:
                printed, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                end(process)
                printed, _ = process.communicate()
                pytest.fail(f"no end after {SECONDS} s and {len(self.proxy.sent)} requests: {printed[-2000:]}")
        assert process.returncode == 0, printed[-4000:]
        return printed

    def written(self) -> str:
        """Return the file that the agent wrote, without the newline at its end."""
        return (self.work / FILE).read_text(encoding="utf-8").removesuffix("\n")

    @property
    def turns(self) -> list[Sent]:
        """The agent's requests that offer tools, in order.

        Those beside the conversation, such as titles, do not.
        """
        return [sent for sent in self.proxy.sent if sent.json.get("tools")]

    def received(self, model: str) -> list[Got]:
        """Return the upstream's requests that offer tools to `model`, in order."""
        return [got for got in self.upstream.calls(model) if got.body.get("tools")]

    def losses(self, model: str, *unsent: str) -> list[str]:
        """Return what of the agent's turns `model` did not get, through the model itself or as a
        worker, and what the upstream refused. `unsent` are texts that may be missing.
        """
        found = [f"refused: {reason}" for reason in self.upstream.refusals]
        for sent, got in zip(self.turns, self.received(model), strict=True):
            found += self.loss(sent, got, model, unsent)
        return found

    def loss(self, sent: Sent, got: Got, model: str, unsent: Sequence[str] = ()) -> list[str]:
        """Return what of a request `model` did not get."""
        warnings = self.proxy.warnings(sent) if sent.json["model"] == model else None
        return losses(sent, got.body, self.upstream.kind, unsent, warnings)


def unsent(is_kept: bool) -> tuple[str, ...]:
    """Return the texts that the upstream does not get, where thoughts are not `is_kept`."""
    return () if is_kept else (THOUGHTS,)


@contextlib.contextmanager
def started(command: list[str], folder: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block or with this process, even by SIGKILL.

    So do those that it starts, as agents do: all are in a session, and a shell outside waits for
    the end of its input, which nobody but us holds open.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    watch = ["sh", "-c", 'read -r line; kill -KILL -- "-$0"', str(process.pid)]
    try:
        watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    except BaseException:
        end(process)
        raise
    try:
        yield process
    finally:
        end(process)
        process.stdout.close()
        process.wait()
        watcher.kill()
        watcher.communicate()


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process that leads a session, and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
