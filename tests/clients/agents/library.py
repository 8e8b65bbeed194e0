"""A script of several agents of one library, each of which writes files: what it prints and what
the upstream got.

The script is in `foreign/` and runs in an interpreter of its own, once for all of its agents: the
imports of such a library take seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.clients import environments
from tests.kit import Behaviour, Recorded, Say, Status

from .comparison import differences, dropped, lost
from .recording import Sent
from .task import CONTENT, FILE, FULL, MISSING, SENTENCE, THOUGHTS, WORKERS, Desk, calls, thoughts

MODELS = ("glm", "chorus")
WAYS = ("whole", "streamed")
OTHER = "other.txt"
TOOL = "write_file"
"""The tool that `foreign/writing.py` offers."""
PREAMBLE = "I write two files."
OFFLINE = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""Variables with which the libraries ask nobody but Chorus."""


def call(path: str) -> dict[str, str]:
    """Return a call of the tool."""
    return {"id": f"call_{path}", "name": TOOL, "arguments": json.dumps({"path": path, "text": CONTENT})}


def writer(*returning: str, preamble: str = PREAMBLE) -> Callable[[Recorded], Behaviour]:
    """Return a model that thinks, says `preamble`, writes two files at once, and then says a
    sentence.

    It demands its thoughts of the agents named in `returning`: the question names the agent. The
    others never send thoughts back, through whatever server.
    """

    def answer(request: Recorded) -> Behaviour:
        is_returning = any(f"({agent})" in request.text for agent in returning)
        if is_returning and any(those != THOUGHTS for those in thoughts(request)):
            return Status(400, {"error": {"message": MISSING, "type": "invalid_request_error"}})
        if calls(request):
            return Say(SENTENCE, usage=FULL)
        return Say(preamble, reasoning=THOUGHTS, tool_calls=[call(FILE), call(OTHER)], usage=FULL)

    return answer


def run(
    desk: Desk, environment: str, script: str, agents: tuple[str, ...], files: tuple[str, ...] = (FILE, OTHER)
) -> None:
    """Run the script and check that each agent wrote the files, whole and streamed, through a model
    and a workflow.
    """
    command = [environments.python(environment), str(environments.FOREIGN / script), desk.base, str(desk.work)]
    printed = desk.run(command, OFFLINE)
    names = [f"{agent} {model} {way}" for agent in agents for model in MODELS for way in WAYS]
    lines = [line for line in printed.splitlines() if line.startswith(("PASS ", "FAIL "))]
    assert lines == [f"PASS {name}" for name in names], printed[-4000:]
    unwritten = [f"{name}/{file}" for name in names for file in files if _read(desk.work / name / file) != CONTENT]
    assert unwritten == [], f"not written: {unwritten}"


def losses(desk: Desk) -> list[str]:
    """Return what the models did not get of a script's requests, and the requests that were not
    answered well.
    """
    found = [f"{sent.status} for {sent.path}" for sent in desk.proxy.sent if sent.status != 200]
    for model in WORKERS:
        turns = [sent for sent in desk.proxy.sent if sent.json["model"] in (model, "chorus")]
        for sent, got in zip(turns, desk.upstream.calls(model), strict=True):
            found += _losses(sent, got, is_single=sent.json["model"] == model)
    return found


def returned(desk: Desk, agent: str) -> bool:
    """Return whether each second turn of `agent` brought its thoughts back, to each model."""
    turns = [got for model in WORKERS for got in desk.upstream.calls(model) if f"({agent})" in got.text]
    second = [thoughts(got) for got in turns if thoughts(got)]
    return len(second) * 2 == len(turns) and all(those == [THOUGHTS] for those in second)


def _losses(sent: Sent, got: Recorded, *, is_single: bool) -> list[str]:
    found = lost(sent.json, got.json)
    if is_single:
        found += dropped(sent.json, got.json, sent.warning)
        if sent.path.endswith("/chat/completions"):
            found += differences(sent.json, got.json)
    return found


def _read(path: Path) -> str:
    """Return a file without the newline at its end, or ""."""
    return path.read_text(encoding="utf-8").removesuffix("\n") if path.exists() else ""
