"""A script of several agents of one library, each of which writes files: what it prints and what
the upstream got.

The script is in `foreign/` and runs in an interpreter of its own, once for all of its agents: the
imports of such a library take seconds.
"""

from __future__ import annotations

from pathlib import Path

from tests.clients import environments
from tests.kit.providers import Failure, ModelAnswer, ToolUse

from .task import CONTENT, FILE, FULL, MISSING, SENTENCE, SIGNATURE, THOUGHTS, WORKERS, Desk
from .upstreams import Got, Model

MODELS = ("glm", "chorus")
WAYS = ("whole", "streamed")
OTHER = "other.txt"
TOOL = "write_file"
"""The tool that `foreign/writing.py` offers."""
PREAMBLE = "I write two files."
OFFLINE = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""Variables with which the libraries ask nobody but Chorus."""


def call(path: str) -> ToolUse:
    """Return a call of the tool."""
    return ToolUse(TOOL, {"path": path, "text": CONTENT}, f"call_{path.partition('.')[0]}")


def writer(*returning: str, preamble: str = PREAMBLE) -> Model:
    """Return a model that thinks, says `preamble`, writes two files at once, and then says a
    sentence.

    It demands its thoughts of the agents named in `returning`: the question names the agent. The
    others never send thoughts back, through whatever server.
    """

    def answer(got: Got) -> ModelAnswer | Failure:
        is_returning = any(f"({agent})" in got.text for agent in returning)
        if is_returning and any(those != THOUGHTS for those in got.thoughts):
            return Failure("refused", MISSING)
        if got.has_results:
            return ModelAnswer(SENTENCE, usage=FULL)
        calls = (call(FILE), call(OTHER))
        return ModelAnswer(preamble, thinking=THOUGHTS, signature=SIGNATURE, calls=calls, usage=FULL)

    return answer


def run(
    desk: Desk,
    environment: str,
    script: str,
    agents: tuple[str, ...],
    files: tuple[str, ...] = (FILE, OTHER),
    models: tuple[str, ...] = MODELS,
) -> None:
    """Run the script and check that each agent wrote the files, whole and streamed, through a model
    and a workflow.
    """
    command = [environments.python(environment), str(environments.FOREIGN / script), desk.base, str(desk.work)]
    printed = desk.run([*command, *models], OFFLINE)
    names = [f"{agent} {model} {way}" for agent in agents for model in models for way in WAYS]
    lines = [line for line in printed.splitlines() if line.startswith(("PASS ", "FAIL "))]
    assert lines == [f"PASS {name}" for name in names], printed[-4000:]
    unwritten = [f"{name}/{file}" for name in names for file in files if _read(desk.work / name / file) != CONTENT]
    assert unwritten == [], f"not written: {unwritten}"


def models_of(desk: Desk) -> tuple[str, ...]:
    """Return what an agent is tried with: workflows over one kind of upstream, to save a minute."""
    return MODELS if desk.upstream.kind == "chat" else MODELS[:1]


def script_losses(desk: Desk, *returning: str) -> list[str]:
    """Return what the models did not get of a script's requests, and the requests that were not
    answered well. Agents that are not `returning` lose their thoughts.
    """
    found = [f"{sent.status} for {sent.path}" for sent in desk.proxy.sent if sent.status != 200]
    found += [f"refused: {reason}" for reason in desk.upstream.refusals]
    for model in WORKERS:
        turns = [sent for sent in desk.proxy.sent if sent.json["model"] in (model, "chorus")]
        for sent, got in zip(turns, desk.upstream.calls(model), strict=True):
            is_returning = any(f"({agent})" in got.text for agent in returning)
            unsent = () if is_returning else (THOUGHTS,)
            found += desk.loss(sent, got, model, unsent)
    return found


def returned(desk: Desk, agent: str) -> bool:
    """Return whether each second turn of `agent` brought its thoughts back, to each model."""
    turns = [got for model in WORKERS for got in desk.upstream.calls(model) if f"({agent})" in got.text]
    second = [got.thoughts for got in turns if got.thoughts]
    return len(second) * 2 == len(turns) and all(those == (THOUGHTS,) for those in second)


def _read(path: Path) -> str:
    """Return a file without the newline at its end, or ""."""
    return path.read_text(encoding="utf-8").removesuffix("\n") if path.exists() else ""
