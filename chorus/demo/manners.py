"""The sentences that the demo models share: who they are, and that something is beyond them."""

from __future__ import annotations

import re
from typing import Final

from chorus.demo.question import Question

_SKILLS: Final = {
    "demo-librarian": ("answers about Chorus, from its own handbook", "查阅 Chorus 自带的手册"),
    "demo-abacus": ("arithmetic", "算术"),
    "demo-scribe": ("simple text operations such as reversing or summarizing", "简单的文字处理，例如倒序或摘要"),
}
_ALL: Final = (
    "arithmetic, simple text operations and answers about Chorus itself",
    "算术、简单的文字处理，以及关于 Chorus 自身的问题",
)
_GREETING = re.compile(
    r"(?:hi|hello|hey|good (?:morning|evening|day)|你好|您好|嗨)(?: (?:there|all|chorus))?[\s!,.?！，。？]*",
    re.IGNORECASE,
)
_WHO_ARE_YOU = re.compile(
    r"\b(?:who|what) are you\b|\bwhat (?:can|do) you do\b|\byour name\b|你是谁|你会什么|你能做什么", re.IGNORECASE
)
_REFUSAL = re.compile(
    r"\bonly a demo model|\bas an AI\b|\bI (?:cannot|can[’']t|am (?:unable|not able) to|do not know|don[’']t know)\b"
    r"|\bI[’']m (?:sorry|unable|not able)\b|^\s*sorry\b|只是演示模型|我(?:无法|不能|不会|不知道)|抱歉",
    re.IGNORECASE,
)


def is_greeting(question: Question) -> bool:
    """Whether a text is a greeting, or asks only who answers."""
    return bool(_GREETING.fullmatch(question.text) or (len(question.text) < 80 and _WHO_ARE_YOU.search(question.text)))


def introduction(model: str, question: Question) -> str:
    """Say who answers."""
    english, chinese = _SKILLS.get(model, _ALL)
    return question.say(
        f"Hello! I am {model}, a demo model that runs inside Chorus without a network or a key. Ask me for {english}.",
        f"你好！我是 Chorus 内置的演示模型 {model}，不需要网络和密钥。我会的是：{chinese}。",
    )


def refusal(model: str, question: Question) -> str:
    """Say that the question is beyond the model."""
    if question.is_image:
        return question.say("I am only a demo model and cannot see images.", "我只是演示模型，看不到图片。")
    english, chinese = _SKILLS.get(model, _ALL)
    return question.say(
        f"I am {model}, only a demo model, and this is beyond me: all I know is {english}.",
        f"我只是演示模型 {model}，回答不了这个问题：我只会{chinese}。",
    )


def is_refusal(text: str) -> bool:
    """Whether an answer, of a demo model or any other, says that it is none."""
    return _REFUSAL.search(text[:400]) is not None
