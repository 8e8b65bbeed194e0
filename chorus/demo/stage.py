"""Read the prompts of the engine, as any model would: which stage is played, about which question
and candidates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chorus.demo.question import Question, last_question
from chorus.types import ChatRequest

_MARKER = re.compile(r"\s*\[Chorus (analyzer|selector|scorer|synthesizer)\]", re.IGNORECASE)
_OPENING = re.compile(r'<candidate label="(?P<label>[^"\n]*)" key="(?P<key>[^"\n]+)">')
_MAX_TAGS: Final = 1000
"""Opening tags that are looked at; a search for the end of each goes through the rest of the
prompt."""
_MARK = re.compile(r'"mark": "(\w+)"')
_CHOSEN = re.compile(r"^Chosen:[ \t]*[\"'`*]*([^\s\"'`*.]+)\S*[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One worker's answer under its neutral label."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What the engine asks a judge to do: be the analyzer, selector, scorer or synthesizer.
    `chosen` is a label, `mark` the word that its reply has to carry; empty where there is none."""

    role: str
    question: Question
    candidates: tuple[LabelledAnswer, ...]
    chosen: str
    mark: str


def read(request: ChatRequest) -> Stage | None:
    """The stage a request plays; None when it is a question like any other."""
    turns = [number for number, message in enumerate(request.messages) if message.role == "user"]
    prompt = request.messages[turns[-1]].text if turns else ""
    marker = _MARKER.match(prompt)
    if marker is None:
        return None
    candidates, around = _split(prompt)
    chosen, mark = _CHOSEN.search(around), _MARK.search(around)
    return Stage(
        marker[1].lower(),
        last_question(request.messages[: turns[-1]]),
        tuple(candidates),
        chosen[1] if chosen else "",
        mark[1] if mark else "",
    )


def _split(prompt: str) -> tuple[list[LabelledAnswer], str]:
    """The candidates, and the prompt without them: a line inside of a candidate names nothing.

    The key in the closing tag must be the one of the opening tag: a candidate cannot close itself
    by quoting a tag.
    """
    candidates: list[LabelledAnswer] = []
    around: list[str] = []
    at = 0
    for _ in range(_MAX_TAGS):
        opening = _OPENING.search(prompt, at)
        if opening is None:
            break
        around.append(prompt[at : opening.start()])
        at = opening.end()
        end = prompt.find(f'</candidate key="{opening["key"]}">', at)
        if end >= 0:
            candidates.append(LabelledAnswer(opening["label"], prompt[at:end].strip()))
            at = end
    return candidates, "".join([*around, prompt[at:]])
