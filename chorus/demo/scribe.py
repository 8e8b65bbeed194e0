"""`demo-scribe`: text operations, answered in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chorus.demo import instruction, textops
from chorus.demo.instruction import Instruction
from chorus.demo.language import central, sentences
from chorus.demo.manners import cannot
from chorus.demo.question import Question

_WORTH_A_REMARK: Final = 3
"""Sentences from which on a text without an instruction gets an extract."""


@dataclass(frozen=True, slots=True)
class Done:
    """A finished operation: the bare `result`, and the sentence with it."""

    instruction: Instruction
    result: str
    sentence: str


def answer(question: Question) -> str:
    """The result of the operation asked for, else an extract of a longer text, else that there was
    none."""
    done = perform(question)
    if done is not None:
        return done.sentence
    if len(sentences(question.text)) >= _WORTH_A_REMARK:
        gist = central(question.text, 1)[0]
        return question.say(
            f"I am only a demo model for text operations. The most central sentence of this is: “{gist}”",
            f"我只是处理文字的演示模型。这段话最核心的一句是：“{gist}”",
        )
    return cannot("demo-scribe", question)


def perform(question: Question) -> Done | None:
    """Do what the question asks; None when it asks for no text operation."""
    task = instruction.read(question.text)
    if task is None:
        return None
    text = task.subject
    if task.needle:
        count = textops.occurrences(task.needle, text)
        times = "once" if count == 1 else f"{count} times"
        return Done(
            task,
            str(count),
            question.say(f"“{task.needle}” occurs {times} in “{text}”.", f"“{text}”里有 {count} 个“{task.needle}”。"),
        )
    for name in task.operations:
        if name in textops.TRANSFORMS:
            text = textops.TRANSFORMS[name](text)
    if "palindrome" in task.operations:
        return _palindrome(question, task, text)
    counted = [name for name in task.operations if name in textops.COUNTS]
    if not counted:
        return Done(task, text, text)
    english, chinese, numbers = [], [], []
    for name in counted:
        how, noun, measure = textops.COUNTS[name]
        number = how(text)
        numbers.append(str(number))
        english.append(f"{number} {noun}{'' if number == 1 else 's'}")
        chinese.append(f" {number} {measure}")
    sentence = question.say(f"The text has {' and '.join(english)}.", f"这段文字有{'、'.join(chinese)}。")
    return Done(task, " ".join(numbers), sentence)


def _palindrome(question: Question, task: Instruction, text: str) -> Done:
    if textops.is_palindrome(text):
        yes = question.say(
            f"Yes, “{text}” is a palindrome: it reads the same backwards.", f"是的，“{text}”是回文：倒着读也一样。"
        )
        return Done(task, question.say("yes", "是的"), yes)
    backwards = textops.reverse(text)
    no = question.say(
        f"No, “{text}” is not a palindrome: backwards it reads “{backwards}”.",
        f"不，“{text}”不是回文：倒过来是“{backwards}”。",
    )
    return Done(task, question.say("no", "不"), no)
