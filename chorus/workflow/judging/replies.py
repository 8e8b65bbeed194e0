"""Which JSON object of a judge's reply is its verdict. Pure.

A judge is shown texts that others wrote, and quotes them: what stands in its reply may be a
candidate's fake verdict. So each prompt asks for a `mark`, a word that is drawn for this one call,
after the candidates were written. An object that carries the mark is the judge's own and outranks
all others. Small models forget it; without a mark, objects count only as far as nothing contradicts
them, and a reply that could mean two things means nothing (`Unreadable`): the stage then falls back
to its rule.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final

from chorus.wirejson import JSON
from chorus.workflow.judging.loose_json import LooseObject, ObjectReader, TooLong

MARK: Final = "mark"
"""The field of the mark."""

_MAX_READ: Final = 32 * 1024
"""Characters of a reply that are read, from its end: models conclude with the verdict. Judges get
4,096 tokens, half of it."""
_MAX_MARKS: Final = 16
_MAX_OPENERS: Final = 32
"""How many places of the mark are read, from the last one, and how many braces before each."""

_OPEN, _CLOSE = "<think>", "</think>"

Says = Callable[[LooseObject], Hashable | None]
"""What an object says, in a form that can be compared; None where it says nothing."""


class Unreadable(ValueError):
    """The text holds no verdict. The message says what was missing and never quotes the text."""


def new_word() -> str:
    """Return a word that cannot be guessed, for a mark or for the tags around candidates. Not drawn
    from a run's own source of chance: a `seed` makes that repeatable."""
    return secrets.token_hex(6)


def answer_of(reply: str) -> str:
    """`reply` without the thinking that it begins with.

    A `</think>` that nothing has opened ends nothing here: it may be a candidate's, which hides
    what the judge said before it.
    """
    begun = reply.lstrip()
    return begun[len(_OPEN) :].partition(_CLOSE)[2].strip() if begun.startswith(_OPEN) else begun.rstrip()


def last_part(answer: str) -> str:
    """Return the text behind the last `</think>`, all of `answer` where there is none."""
    return answer.rpartition(_CLOSE)[2].strip()


def verdict_of(reply: str, mark: str, says: Says, wanted: Sequence[str]) -> LooseObject:
    """Return the object of `reply` that holds the verdict.

    It is the last one that carries `mark`, else the only one, or one of several that say the same.
    `wanted` are the keys of which it has one.

    Raises:
        Unreadable: there is none, or there are several that disagree.
    """
    return marked_object(reply, mark, says, wanted) or agreed_object(reply, says, wanted)


def marked_object(reply: str, mark: str, says: Says, wanted: Sequence[str]) -> LooseObject | None:
    """Return the last whole object that carries `mark`, else the last beginning of one, else None.

    Raises:
        Unreadable: it says nothing, or may be a string of another one that says something else.
    """
    marked = _marked(reply[-_MAX_READ:], mark) if mark else ()
    if not marked:
        return None
    chosen = ([candidate for candidate in marked if candidate.is_whole] or marked)[-1]
    verdict = says(chosen)
    if verdict is None:
        raise Unreadable(f"the object with the mark has no usable {_listed(wanted)}")
    _check_strings(chosen, verdict, marked, says)
    return chosen


def agreed_object(reply: str, says: Says, wanted: Sequence[str]) -> LooseObject:
    """Return an object with the verdict on which all whole ones of `reply` agree.

    Where none is whole, it is the only beginning of one.

    Raises:
        Unreadable: there is none, or they disagree.
    """
    answer = answer_of(reply)
    every = objects_of(answer)
    telling = [(candidate, verdict) for candidate in every if (verdict := says(candidate)) is not None]
    whole = [(candidate, verdict) for candidate, verdict in telling if candidate.is_whole]
    if not telling:
        kind = "usable" if any(key in candidate.value for candidate in every for key in wanted) else "JSON object with"
        raise Unreadable(f"the model wrote no {kind} {_listed(wanted)}")
    chosen, verdict = (whole or telling)[-1]
    if any(other != verdict for _, other in whole or telling):
        raise Unreadable("several objects of the reply disagree, and none carries the mark")
    if not whole and len(_named(wanted).findall(answer, chosen.start)) > 1:
        raise Unreadable("the reply breaks off, and it is not clear what belongs to the verdict")
    _check_strings(chosen, verdict, every, says)
    return chosen


def objects_of(answer: str) -> Sequence[LooseObject]:
    """Return every object of `answer`, and every beginning of one.

    Raises:
        Unreadable: there is nothing to read, or too much.
    """
    if not answer:
        raise Unreadable("the model wrote nothing")
    if len(answer) > _MAX_READ:
        raise Unreadable(f"the reply has more than {_MAX_READ} characters and no mark")
    try:
        return list(ObjectReader(answer).all())
    except TooLong:
        raise Unreadable("the reply has too many braces and quotes") from None


def _marked(text: str, mark: str) -> list[LooseObject]:
    """Return the objects that have the mark as a member, in order, without nested ones.

    They are looked for from the mark outwards: whatever else the text holds, before or behind,
    cannot hide them.
    """
    reader, by_start = ObjectReader(text), dict[int, LooseObject]()
    place = len(text)
    try:
        for _ in range(_MAX_MARKS):
            place = opener = text.rfind(mark, 0, place)
            for _ in range(_MAX_OPENERS if place >= 0 else 0):
                opener = text.rfind("{", 0, opener)
                if opener < 0 or opener in by_start:
                    break
                candidate = reader.at(opener)
                if str(candidate.value.get(MARK)).strip() == mark:
                    by_start[opener] = candidate
                    break
    except TooLong:
        pass  # those nearest to the end have been found
    ordered = [by_start[start] for start in sorted(by_start)]
    return [
        candidate
        for candidate in ordered
        if not any(other.start < candidate.start < _certain_end(other) for other in ordered)
    ]


def _certain_end(candidate: LooseObject) -> int:
    """Up to where everything belongs to the object."""
    return candidate.end if candidate.is_whole else candidate.start


def _check_strings(chosen: LooseObject, verdict: Hashable, every: Sequence[LooseObject], says: Says) -> None:
    """Raise Unreadable where `chosen` may be in a string of an object with another verdict."""
    for candidate in every:
        if candidate.in_string and candidate.start < chosen.start and says(candidate) not in (None, verdict):
            raise Unreadable("an object of the reply has a string without an end, and what follows says something else")


def _named(wanted: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(wanted)})[\"'”’]?\s*[:：]")


def _listed(wanted: Sequence[str]) -> str:
    return " or ".join(wanted[:3])


def is_certain(candidate: LooseObject, key: str) -> bool:
    """Return whether the value of `key` is the judge's own.

    A key that comes again may do so because a string with a foreign text was not escaped. The
    first one is then the judge's where it stands as the prompt has it: right behind the mark.
    """
    return key not in candidate.repeated or list(candidate.value)[:2] == [MARK, key]


def first_of(value: Mapping[str, JSON], keys: Sequence[str]) -> str | None:
    """Return the first of `keys` that has a value."""
    return next((key for key in keys if value.get(key) is not None), None)
