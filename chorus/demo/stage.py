"""Read the prompts of the engine, as any model would: which stage is played, about which question
and candidates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chorus.demo.question import Question, question_of
from chorus.types import ChatRequest

_ROLE = re.compile(r"\s*\[Chorus (analyzer|selector|scorer|synthesizer)\]")
_OPENING = re.compile(r'<candidate label="(?P<label>[^"\n]*)" key="(?P<key>[^"\n]+)">')
_MAX_TAGS: Final = 1000
"""Opening tags that are looked at; a search for the end of each goes through the rest of the
prompt."""
_MARK = re.compile(r'"mark": "(\w+)"')
_CHOSEN = re.compile(r"^Chosen:[ \t]*(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Stage:
    """What the engine asks a judge to do: be the analyzer, selector, scorer or synthesizer.

    `candidates` are the workers' answers by their neutral labels and `chosen` is one of these;
    `mark` is the word that the reply has to carry. Both are empty where there is none.
    """

    role: str
    question: Question
    candidates: dict[str, str]
    chosen: str
    mark: str


def read(request: ChatRequest) -> Stage | None:
    """Return the stage that a request plays; None when it is a question like any other."""
    turns = [number for number, message in enumerate(request.messages) if message.role == "user"]
    prompt = request.messages[turns[-1]].text if turns else ""
    role = _ROLE.match(prompt)
    if role is None:
        return None
    candidates, around = _split(prompt)
    chosen, mark = _CHOSEN.search(around), _MARK.search(around)
    question = question_of(request.messages[: turns[-1]])
    return Stage(role[1], question, candidates, chosen[1] if chosen else "", mark[1] if mark else "")


def _split(prompt: str) -> tuple[dict[str, str], str]:
    """Return the candidates, and the prompt without them: a line inside of a candidate names
    nothing.

    The key in the closing tag must be the one of the opening tag: a candidate cannot close itself
    by quoting a tag.
    """
    candidates: dict[str, str] = {}
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
            candidates[opening["label"]] = prompt[at:end].strip()
            at = end
    return candidates, "".join([*around, prompt[at:]])
