"""`demo-scribe`: text operations, answered in a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chorus.demo import instruction
from chorus.demo.language import central, is_chinese, sentences
from chorus.demo.manners import cannot
from chorus.demo.question import Question

_WORTH_A_REMARK: Final = 3
"""Sentences from which on a text without an instruction gets an extract."""
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SMALL_WORDS: Final = frozenset(
    ["a", "an", "and", "as", "at", "by", "for", "if", "in", "of", "on", "or", "the", "to", "with"]
)


def sort_words(text: str) -> str:
    """The items in alphabetical order, separated as they were: by commas or by spaces."""
    comma = next((sign for sign in ("，", "、", ",") if sign in text), "")
    items = [item.strip() for item in text.split(comma)] if comma else _WORD.findall(text)
    separator = f"{comma} " if comma == "," else comma or " "
    return separator.join(sorted((item for item in items if item), key=lambda item: (item.casefold(), item)))


def acronym(text: str) -> str:
    """The initials; small words such as "of" lend none, unless there are no others."""
    words = _WORD.findall(text.replace("-", " "))
    return "".join(word[0] for word in [one for one in words if one.lower() not in _SMALL_WORDS] or words).upper()


def summary(text: str) -> str:
    """The most central sentences: one of up to four, at most three of any text."""
    count = min(3, max(1, len(sentences(text)) // 4))
    return ("" if is_chinese(text) else " ").join(central(text, count))


def count_words(text: str) -> int:
    """Words, where Chinese counts by characters, as its editors count."""
    return sum(map(is_chinese, text)) + sum(map(str.isascii, _WORD.findall(text)))


TRANSFORMS: Final[dict[str, Callable[[str], str]]] = {
    "reverse words": lambda text: " ".join(reversed(text.split())),
    "reverse": lambda text: text[::-1],
    "title case": lambda text: " ".join(map(str.capitalize, text.split())),
    "upper case": str.upper,
    "lower case": str.lower,
    "sort": sort_words,
    "acronym": acronym,
    "summary": summary,
}
COUNTS: Final[dict[str, tuple[Callable[[str], int], str, str]]] = {
    "words": (count_words, "word", "个词"),
    "letters": (lambda text: sum(map(str.isalpha, text)), "letter", "个字母"),
    "characters": (len, "character", "个字符"),
    "sentences": (lambda text: len(sentences(text)), "sentence", "个句子"),
}


@dataclass(frozen=True, slots=True)
class Done:
    """Finished operations on `subject`: the bare `result`, and the sentence with it."""

    operations: tuple[str, ...]
    subject: str
    result: str
    sentence: str


def answer(question: Question) -> str:
    """The result of the operation asked for, else an extract of a longer text, else that there was
    none."""
    done = perform(question)
    if done is not None:
        return done.sentence
    if len(sentences(question.text)) < _WORTH_A_REMARK:
        return cannot("demo-scribe", question)
    gist = central(question.text, 1)[0]
    return question.say(
        f"I am only a demo model for text operations. The most central sentence of this is: “{gist}”",
        f"我只是处理文字的演示模型。这段话最核心的一句是：“{gist}”",
    )


def perform(question: Question) -> Done | None:
    """Do what the question asks; None when it asks for no text operation."""
    task = instruction.read(question.text)
    if task is None:
        return None
    text = task.subject
    for name in task.operations:
        text = TRANSFORMS[name](text) if name in TRANSFORMS else text
    if task.needle:
        result, sentence = _occurrences(question, task.needle, text)
    elif "palindrome" in task.operations:
        result, sentence = _palindrome(question, text)
    elif counted := [COUNTS[name] for name in task.operations if name in COUNTS]:
        numbers = [count(text) for count, _, _ in counted]
        english = [f"{n} {noun}{'' if n == 1 else 's'}" for n, (_, noun, _) in zip(numbers, counted, strict=True)]
        chinese = [f" {n} {measure}" for n, (_, _, measure) in zip(numbers, counted, strict=True)]
        result = " ".join(map(str, numbers))
        sentence = question.say(f"The text has {' and '.join(english)}.", f"这段文字有{'、'.join(chinese)}。")
    else:
        result = sentence = text
    return Done(task.operations, task.subject, result, sentence)


def _occurrences(question: Question, needle: str, text: str) -> tuple[str, str]:
    count = text.casefold().count(needle.casefold())
    times = "once" if count == 1 else f"{count} times"
    return str(count), question.say(f"“{needle}” occurs {times} in “{text}”.", f"“{text}”里有 {count} 个“{needle}”。")


def _palindrome(question: Question, text: str) -> tuple[str, str]:
    letters = [char for char in text.casefold() if char.isalnum()]
    if letters == letters[::-1]:
        return question.say("yes", "是的"), question.say(
            f"Yes, “{text}” is a palindrome: it reads the same backwards.", f"是的，“{text}”是回文：倒着读也一样。"
        )
    return question.say("no", "不"), question.say(
        f"No, “{text}” is not a palindrome: backwards it reads “{text[::-1]}”.",
        f"不，“{text}”不是回文：倒过来是“{text[::-1]}”。",
    )
