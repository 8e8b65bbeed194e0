"""A run on the terminal: its stages on standard error, its answer on standard output."""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol

from rich.columns import Columns
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from chorus import texts
from chorus.cli.run_events import RunEvent
from chorus.errors import ChorusError

_MARKS: Final = {"ok": "✓", "skipped": "–", "cancelled": "–", "running": "…"}
_COLOURS: Final = {"ok": "green", "running": "cyan", "skipped": "dim", "cancelled": "dim"}
_STAGES: Final = {
    "recall": texts.Text("recall", "召回"),
    "analyzer": texts.Text("analyzer", "分析"),
    "worker": texts.Text("worker", "worker"),
    "selector": texts.Text("selector", "评审"),
    "synthesizer": texts.Text("synthesizer", "合成"),
    "memorize": texts.Text("memorize", "记忆"),
}
_TOKENS: Final = texts.Text("{count} tokens", "{count} token")
_SAVED: Final = texts.Text("{name} saved {calls} calls", "{name} 节省 {calls} 次调用")
_LINES: Final = 6
_KEPT: Final = 2000
"""Lines of a worker's text that its card shows, and characters that are kept of it."""
_NARROWEST: Final = 28
_UNSAFE: Final = {code: None for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if code != 0x0A}
"""Control characters, with which a model's text could move the cursor."""


class RunView(Protocol):
    """Shows the events of one run."""

    def show(self, event: RunEvent) -> None:
        """Show one event. Raises ChorusError with the error of a run that failed."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was found. May be called twice."""
        ...


class PlainView:
    """A line per stage on standard error, the final answer on standard output as it comes."""

    def __init__(self) -> None:
        self._stages: dict[str, RunEvent] = {}
        self._mid_line = False

    def show(self, event: RunEvent) -> None:
        """See `RunView.show`."""
        match event["type"]:
            case "stage.started":
                self._stages[event["path"]] = event
            case "stage.finished":
                self._finished(event)
            case "delta" if event["choice"] is not None:
                text = event.get("text", "")
                print(text, end="", flush=True)
                self._mid_line = self._mid_line or bool(text)
            case "run.finished":
                self.close()
                print(f"  {summary(event)}", file=sys.stderr)
            case "run.failed":
                raise ChorusError(event["error"]["message"])
            case _:
                pass

    def close(self) -> None:
        """See `RunView.close`."""
        if self._mid_line:
            print(flush=True)
            self._mid_line = False

    def _finished(self, event: RunEvent) -> None:
        self.close()
        stage = self._stages[event["path"]]
        indent = "  " * len(event["path"].split("/"))
        mark = _MARKS.get(event["status"], "✗")
        secs = (event["at_ms"] - stage["at_ms"]) / 1000
        line = f"{indent}{mark} {_STAGES[stage['stage']]} {stage['name']} {secs:.1f} s  {remark(event)}"
        print(line.rstrip(), file=sys.stderr)


class SideBySideView:
    """The workers beside each other while they write, for a terminal.

    Then the answer as it comes.
    """

    def __init__(self, console: Console | None = None) -> None:
        """`console` is where the cards are shown, standard error otherwise."""
        self._console = console or Console(stderr=True)
        self._plain = PlainView()
        self._cards: dict[str, _Card] = {}
        self._live: Live | None = None
        self._is_answering = False
        self._verdict = ""

    def show(self, event: RunEvent) -> None:
        """See `RunView.show`."""
        kind = event["type"]
        if kind == "stage.started" and event["stage"] == "worker" and not event["is_group"]:
            self._cards[event["path"]] = _Card(event)
        if card := self._cards.get(event.get("path", "")):
            card.add(event)
        elif "selected_worker" in event.get("details", {}):
            self._verdict = remark(event).translate(_UNSAFE)
        is_output = kind == "delta" and event["choice"] is not None
        is_answer = is_output and event["path"] not in self._cards
        if is_answer or kind in ("run.finished", "run.failed"):
            self._answer()
        if self._is_answering:
            if is_output or kind in ("run.finished", "run.failed"):
                self._plain.show(event)
        elif is_output:  # a model that answers by itself needs no card
            self._cards.clear()
            self._answer()
            self._plain.show(event)
        elif self._cards and self._live is None:
            self._live = Live(console=self._console, get_renderable=self._columns, refresh_per_second=12)
            self._live.start()

    def close(self) -> None:
        """See `RunView.close`."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._plain.close()

    def _answer(self) -> None:
        """End the live cards and print the verdict, before the first piece of the answer."""
        if not self._is_answering:
            self._is_answering = True
            self.close()
            if self._verdict:
                self._console.print(Text(self._verdict, style="dim"))

    def _columns(self) -> Columns:
        count = max(len(self._cards), 1)
        width = max(self._console.width // count - 1, min(_NARROWEST, self._console.width))
        return Columns([card.panel(width) for card in (*self._cards.values(),)], padding=(0, 0))


class _Card:
    """One worker: its name, its state, and the end of its text."""

    def __init__(self, started: RunEvent) -> None:
        self._started = started
        self._text = ""
        self._status = "running"
        self._foot = ""

    def add(self, event: RunEvent) -> None:
        """Add an event of this worker."""
        if event["type"] == "delta":
            text = event.get("text", "") or event.get("reasoning", "")
            self._text = (self._text + text.translate(_UNSAFE))[-_KEPT:]
        elif event["type"] == "stage.finished":
            self._status = event["status"]
            secs = (event["at_ms"] - self._started["at_ms"]) / 1000
            tokens = event.get("usage", {}).get("completion_tokens")
            self._foot = f"{secs:.1f} s" + (f", {_TOKENS.filled(count=tokens)}" if tokens is not None else "")
            if note := remark(event):
                self._text = note.translate(_UNSAFE)

    def panel(self, width: int) -> Panel:
        """Return the card, `width` columns wide."""
        colour = _COLOURS.get(self._status, "red")
        lines = Text(self._text).wrap(Console(width=width), max(width - 4, 1))[-_LINES:]
        body = Text("\n").join(lines)
        title = Text(f"{_MARKS.get(self._status, '✗')} {self._started['name']}".translate(_UNSAFE))
        return Panel(body, title=title, subtitle=self._foot, width=width, height=_LINES + 2, border_style=colour)


def remark(event: RunEvent) -> str:
    """Return why a stage failed, or what the judge says; "" where there is nothing to say."""
    details: dict[str, Any] = event.get("details", {})
    if "error" in event:
        return str(event["error"]["message"])
    if "selected_worker" in details:
        return f"{details['selected_worker']}: {details.get('reasoning', '')}"
    return ""


def summary(event: RunEvent) -> str:
    """Return how long the run took, and what it used."""
    parts = [f"{event['at_ms'] / 1000:.1f} s", str(_TOKENS.filled(count=event["usage"]["total_tokens"]))]
    for shortcut in event["shortcuts"]:
        parts.append(str(_SAVED.filled(name=shortcut["name"], calls=shortcut["saved_calls"])))
    return ", ".join(parts)


def view() -> RunView:
    """Return the view for this terminal: plain lines where an output is none."""
    is_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    return SideBySideView() if is_terminal else PlainView()
