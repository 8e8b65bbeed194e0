"""Behaviours by model name, so that a standalone upstream needs no script.

m-<first_ms>-<gap_ms>-<pieces>  so many pieces; gap 0: at once. m-50-0-64 says 64 pieces after 50 ms
analyzer-<ms>                   after so long the JSON that Chorus' analyzer expects
selector-<ms>                   after so long the JSON that Chorus' selector expects, choosing "A"
echo-<ms>, echo                 repeats the last message
status-<code>                   that HTTP status
hang-<stage>                    connect, headers or body
cut-<pieces>                    closes after so many pieces
anything else                   "answer of <model>"
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from .record import Recorded
from .script import Behaviour, Cut, Hang, Say, Status

ANALYSIS = '{"task_type":"general","temperature":0.7,"difficulty":"easy"}'
VERDICT = '{"choice":"A","reason":"best","scores":{"A":9,"B":5}}'


def by_name(request: Recorded) -> Behaviour:
    """The behaviour that the model's name asks for."""
    return _behaviour_of(request.model)


def plain_answer(request: Recorded) -> Behaviour:
    """The default of a scripted upstream: `answer of <model>`."""
    return Say(f"answer of {request.model}")


@functools.lru_cache(maxsize=256)
def _behaviour_of(model: str) -> Behaviour:
    for pattern, behaviour in _CONVENTIONS:
        if found := re.fullmatch(pattern, model):
            return behaviour(*found.groups())
    return Say(f"answer of {model}")


def _paced(first_ms: str, gap_ms: str, count: str) -> Behaviour:
    pieces = tuple(f"tok{number} " for number in range(int(count)))
    gap = int(gap_ms) / 1000
    return Say(pieces=pieces, first_token=int(first_ms) / 1000, gap=gap, burst=gap == 0)


def _after(text: str) -> Callable[[str], Behaviour]:
    return lambda ms: Say(text, first_token=int(ms) / 1000, burst=True)


def _echo(ms: str | None) -> Behaviour:
    return Say(lambda request: request.last_user_text, first_token=int(ms or 0) / 1000)


_CONVENTIONS: list[tuple[str, Callable[..., Behaviour]]] = [
    (r"m-(\d+)-(\d+)-(\d+)", _paced),
    (r"analyzer-(\d+)", _after(ANALYSIS)),
    (r"selector-(\d+)", _after(VERDICT)),
    (r"echo(?:-(\d+)(?:ms)?)?", _echo),
    (r"status-(\d{3})", lambda code: Status(int(code))),
    (r"hang-(connect|headers|body)", Hang),
    (r"cut-(\d+)", lambda pieces: Cut(int(pieces))),
]
