"""The plain sentences of the demo models: who they are, and that something is beyond them."""

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
    r"(?:hi|hello|hey|good (?:morning|evening|day)|greetings|你好|您好|嗨|hallo)(?:\s+(?:there|all|everyone|chorus))?[\s!,.?！，。？]*",
    re.IGNORECASE,
)
_WHO_ARE_YOU = re.compile(
    r"\b(?:who|what) are you\b|\bwhat (?:can|do) you do\b|\byour name\b|\bintroduce yourself\b|你是谁|你是什么|你会什么|你能做什么|自我介绍",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:I am|I'm|I’m)\s+(?:only\s+|just\s+)?(?:an?\s+|the\s+)?[\w ,-]{0,60}?\bdemo model|\bas an AI\b"
    r"|\bI (?:cannot|can't|can’t|can not|am unable to|am not able to|do not know|don't know)\b"
    r"|\bI'm (?:sorry|unable|not able)\b|^\s*sorry\b"
    r"|我只?是[^。]{0,20}演示模型|我(?:无法|不能|不会|不知道)|抱歉",
    re.IGNORECASE,
)


def is_greeting(question: Question) -> bool:
    """Whether a text is a greeting, or asks only who answers."""
    return _GREETING.fullmatch(question.text) is not None or (
        len(question.text) < 80 and _WHO_ARE_YOU.search(question.text) is not None
    )


def introduction(model: str, question: Question) -> str:
    """Say who answers."""
    english, chinese = _SKILLS.get(model, _ALL)
    return question.say(
        f"Hello! I am {model}, a demo model that runs inside Chorus without a network or a key. Ask me for {english}.",
        f"你好！我是 Chorus 内置的演示模型 {model}，不需要网络和密钥。我会的是：{chinese}。",
    )


def cannot(model: str, question: Question) -> str:
    """Say that the question is beyond the model."""
    english, chinese = _SKILLS.get(model, _ALL)
    if question.has_image:
        return question.say("I am only a demo model and cannot see images.", "我只是演示模型，看不到图片。")
    return question.say(
        f"I am {model}, only a demo model, and this is beyond me: all I know is {english}.",
        f"我只是演示模型 {model}，回答不了这个问题：我只会{chinese}。",
    )


def is_refusal(text: str) -> bool:
    """Whether an answer, of a demo model or any other, says that it is none."""
    return _REFUSAL.search(text[:400]) is not None
