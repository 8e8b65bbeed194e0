"""`chorus ask`: one question on the terminal, its stages shown as they happen."""

from __future__ import annotations

import sys
from typing import Annotated

import anyio
import typer

from chorus.cli.common import ConfigOption
from chorus.cli.demo import demo_config
from chorus.config import Config
from chorus.errors import ChorusError
from chorus.events import Delta, Event, RunFailed, RunFinished, StageFinished, StageStarted
from chorus.service import Chorus
from chorus.serving.configuration import read_config
from chorus.telemetry import log
from chorus.types import ChatRequest, Message

EXAMPLE = 'chorus ask --demo "What is 17 * 23?"'


def run(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model or workflow; `chorus`, else the first, otherwise.")
    ] = None,
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Ask the built-in demo models.")] = False,
) -> None:
    """Ask one question. The answer goes to standard output as it comes, the stages to standard
    error."""
    if not question.strip():
        raise typer.BadParameter("expected a question")
    log.configure("error")
    loaded = demo_config() if demo else read_config(config)
    anyio.run(_ask, loaded, question, model)


async def _ask(config: Config, question: str, model: str | None) -> None:
    chorus = Chorus(config)
    try:
        plans = chorus.snapshot.plans
        name = model or next(iter(plans))
        request = ChatRequest(name, (Message("user", question),))
        terminal = _Terminal()
        async with chorus.run((request,), request_id="ask", unique="ask", streaming=True) as journal:
            async for batch in journal.read():
                for event in batch:
                    terminal.show(event)
    finally:
        await chorus.aclose()


class _Terminal:
    """Shows a run: a line per stage on standard error, the final answer on standard output."""

    def __init__(self) -> None:
        self._stages: dict[tuple[str, ...], StageStarted] = {}
        self._mid_line = False

    def show(self, event: Event) -> None:
        """Show one event. Raises the run's error."""
        match event:
            case StageStarted():
                self._stages[event.path] = event
            case StageFinished():
                self._finished(event)
            case Delta() if event.choice is not None:
                print(event.text, end="", flush=True)
                self._mid_line = self._mid_line or bool(event.text)
            case RunFinished():
                self._end_line()
                summary = [f"{event.at:.1f} s", f"{event.usage.total_tokens} tokens"]
                summary += [f"{shortcut.name} saved {shortcut.saved_calls} calls" for shortcut in event.shortcuts]
                print("  " + ", ".join(summary), file=sys.stderr)
            case RunFailed():
                raise ChorusError(event.error.message)
            case _:
                pass

    def _end_line(self) -> None:
        if self._mid_line:
            print(flush=True)
            self._mid_line = False

    def _finished(self, event: StageFinished) -> None:
        self._end_line()
        stage = self._stages[event.path]
        mark = {"ok": "✓", "skipped": "–", "cancelled": "–"}.get(event.status, "✗")
        remark = ""
        if event.fault is not None:
            remark = event.fault.message
        elif "selected_worker" in event.details:
            remark = f"{event.details['selected_worker']}: {event.details['reasoning']}"
        indent = "  " * len(event.path)
        print(
            f"{indent}{mark} {stage.stage} {stage.name} {event.at - stage.at:.1f} s  {remark}".rstrip(), file=sys.stderr
        )
