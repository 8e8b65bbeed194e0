"""A script of several agents of one library, each of which writes a file: what it prints and what the upstream got.

The script is in `foreign/` and runs in an interpreter of its own, once for all of its agents: the imports of such a
library take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.clients import environments
from tests.kit import Behaviour, Recorded

from .comparison import differences, dropped, lost
from .recording import Sent
from .task import CONTENT, FILE, FULL, THOUGHTS, WORKERS, Desk, Writer, thoughts

MODELS = ("glm", "chorus")
WAYS = ("whole", "streamed")
TOOL = {"tool": "write_file", "arguments": {"path": FILE, "text": CONTENT}}
"""The tool that `foreign/writing.py` offers."""
OFFLINE = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""Variables with which the libraries ask nobody but Chorus."""


def writer(*returning: str) -> Callable[[Recorded], Behaviour]:
    """Return a model that writes the file, and demands its thoughts of the agents named in `returning`.

    The question names the agent. The others never send thoughts back, through whatever server.
    """
    strict, lenient = Writer(**TOOL, usage=FULL, demands_thoughts=True), Writer(**TOOL, usage=FULL)

    def answer(request: Recorded) -> Behaviour:
        is_returning = any(f"({agent})" in request.text for agent in returning)
        return strict(request) if is_returning else lenient(request)

    return answer


def run(desk: Desk, environment: str, script: str, agents: tuple[str, ...]) -> None:
    """Run the script and check that each agent wrote the file, whole and streamed, through a model and a workflow."""
    command = [environments.python(environment), str(environments.FOREIGN / script), desk.base, str(desk.work)]
    printed = desk.run(command, OFFLINE)
    names = [f"{agent} {model} {way}" for agent in agents for model in MODELS for way in WAYS]
    lines = [line for line in printed.splitlines() if line.startswith(("PASS ", "FAIL "))]
    assert lines == [f"PASS {name}" for name in names], printed[-4000:]
    unwritten = [name for name in names if _written(desk.work / name) != CONTENT]
    assert unwritten == [], f"not written: {unwritten}"


def losses(desk: Desk) -> list[str]:
    """Return what the models did not get of a script's requests, and the requests that were not answered well."""
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


def _written(folder: Path) -> str:
    """Return the file in `folder` without the newline at its end, or ""."""
    path = folder / FILE
    return path.read_text(encoding="utf-8").removesuffix("\n") if path.exists() else ""
