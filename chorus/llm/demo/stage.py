"""Read the prompts of the engine, as any model would: which stage is played, about which question and candidates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from chorus.llm.demo.question import Question, last_question
from chorus.types import ChatRequest

Role = Literal["analyzer", "selector", "scorer", "synthesizer"]

_MARKER = re.compile(r"\s*\[Chorus (analyzer|selector|scorer|synthesizer)\]", re.IGNORECASE)
# the key in the closing tag must be the one of the opening tag: a candidate cannot close itself by quoting a tag
_CANDIDATE = re.compile(
    r'<candidate label="(?P<label>[^"\n]*)" key="(?P<key>[^"\n]+)">\n?(?P<text>.*?)\n?</candidate key="(?P=key)">',
    re.DOTALL,
)
_CHOSEN = re.compile(r"^Chosen:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_ROLES: Final[dict[str, Role]] = {
    "analyzer": "analyzer",
    "selector": "selector",
    "scorer": "scorer",
    "synthesizer": "synthesizer",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One worker's answer under its neutral label."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What the engine asks a judge to do. `chosen` is a label, empty where none was named."""

    role: Role
    question: Question
    candidates: tuple[Candidate, ...] = ()
    chosen: str = ""


def read(request: ChatRequest) -> Stage | None:
    """The stage a request plays; None when it is a question like any other."""
    turns = [number for number, message in enumerate(request.messages) if message.role == "user"]
    if not turns:
        return None
    prompt = request.messages[turns[-1]].text
    marker = _MARKER.match(prompt)
    if marker is None:
        return None
    candidates = tuple(Candidate(m["label"], m["text"].strip()) for m in _CANDIDATE.finditer(prompt))
    around = _CANDIDATE.sub("", prompt)  # a line inside a candidate names nothing
    chosen = _CHOSEN.search(around)
    return Stage(
        _ROLES[marker[1].lower()],
        last_question(request.messages[: turns[-1]]),
        candidates,
        chosen[1].strip("\"'`*.") if chosen else "",
    )
