"""The events of a run as the store keeps them: one text, which another process folds into a trace.

Encoding the events takes a tenth of the time of folding them, and most traces are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_not
from typing import Any, Final

import msgspec

from chorus.errors import ChorusError
from chorus.events import Event, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted, WorkersPicked
from chorus.types import Answer

_Kept = RunStarted | StageStarted | StageFinished | WorkersPicked | RunFinished | RunFailed


class _KeptError(ChorusError):
    """An error of a kept run: a trace shows its code and its message only."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # what a class has elsewhere


def encoded(events: Sequence[Event]) -> bytes:
    """Return `events`, of which none is a `Delta`, as a JSON text that `decoded` reads. The answers
    are without what no trace shows, such as images and log-probabilities."""
    shown = [*map(_shown, events)]
    last = shown[-1]
    if isinstance(last, RunFinished) and last.answers == (_last_answer(shown[:-1]),):
        shown[-1] = msgspec.structs.replace(last, answers=())
    return _encoder.encode(shown)


def decoded(text: bytes) -> list[Event]:
    """Return the events that `encoded` was given. Raises msgspec.DecodeError where another version
    of Chorus has written them otherwise."""
    events: list[Event] = [*_decoder.decode(text)]
    for number, event in enumerate(events):
        if type(event) is RunFinished and not event.answers:
            answer = _last_answer(events[:number])
            events[number] = msgspec.structs.replace(event, answers=(answer or Answer(),))
    return events


def _last_answer(events: Sequence[Event]) -> Answer | None:
    """Return the answer of the stage that ended last, which is mostly the run's own: an answer is
    kept once.
    """
    last = events[-1] if events else None
    return last.answer if isinstance(last, StageFinished) else None


def _shown(event: Event) -> Event:
    if type(event) is StageFinished:
        answer = event.answer
        if answer is not None and (short := _short(answer)) is not answer:
            return msgspec.structs.replace(event, answer=short)
    elif type(event) is RunFinished:
        answers = tuple(map(_short, event.answers))
        if any(map(is_not, answers, event.answers)):
            return msgspec.structs.replace(event, answers=answers)
    return event


def _short(answer: Answer) -> Answer:
    if not answer.extra and answer.logprobs is None:
        return answer
    return msgspec.structs.replace(answer, extra={}, logprobs=None)


def _written(value: object) -> object:
    assert isinstance(value, ChorusError), "an event holds what cannot be encoded"
    return [value.code, value.message]


def _read(kind: type, value: Any) -> ChorusError:
    code, message = value
    return _KeptError(code, message)


_encoder: Final = msgspec.json.Encoder(enc_hook=_written)
_decoder: Final = msgspec.json.Decoder(list[_Kept], dec_hook=_read)
