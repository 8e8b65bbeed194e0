"""Progress of a workflow, written as reasoning before the answer begins (W8)."""

from __future__ import annotations

from collections.abc import Iterable

from chorus.events import Delta, Event, RunStarted, StageFinished, StageStarted
from chorus.server.http.frames import Encoder, Frame
from chorus.telemetry.stage_sentences import StageSentences


class ProgressEncoder:
    """An encoder around another one, which hears of the stages of a run as reasoning, until the
    answer itself begins. Every dialect has a field for that."""

    def __init__(self, inner: Encoder) -> None:
        self._inner = inner
        self._sentences = StageSentences()
        self._choices = 1
        self._speaking: set[int] = set()

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if isinstance(event, Delta):
            if event.choice is not None:
                self._speaking.add(event.choice)
        elif isinstance(event, RunStarted):
            self._choices = event.choices
        elif isinstance(event, StageStarted | StageFinished):
            sentence = self._sentences.sentence(event)
            choice = self._sentences.choice(event)
            if sentence and choice not in self._speaking:
                indent = "  " * (len(event.path) - (2 if self._choices > 1 else 1))
                text = f"{indent}{sentence}\n"
                progress = Delta((), event.at, reasoning=text, choice=choice, is_progress=True)
                yield from self._inner.encode(progress)
        yield from self._inner.encode(event)
