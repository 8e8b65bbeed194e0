"""Read a text operation off a question: what is to be done, and with which text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# found in this order and then blotted out, so that "首字母大写" is not also "大写"
_OPERATIONS: Final = [
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            "reverse words",
            r"\breverse (?:the )?(?:order of (?:the )?)?words(?: order)?\b|\bword order\b|(?:反转|颠倒)词序|词序反转",
        ),
        ("reverse", r"\brevers(?:e[ds]?|ing)\b|\bbackwards?\b|反过来|倒过来|反转|颠倒|倒序|倒着写?"),
        ("acronym", r"\bacronyms?\b|\binitials\b|首字母缩写|缩写"),
        ("title case", r"\btitle[- ]?case\b|\bcapitali[sz]e\b|首字母大写|标题格式"),
        ("upper case", r"\bupper[- ]?cased?\b|\bcapital letters\b|\ball caps\b|\bcapitals\b|大写"),
        ("lower case", r"\blower[- ]?cased?\b|\bsmall letters\b|小写"),
        ("sort", r"\bsort(?:ed)?\b|\balphabeti(?:cal(?:ly)?|[sz]e)\b(?: order)?|排序"),
        ("palindrome", r"\bpalindromes?\b|回文"),
        ("words", r"\b(?:count|how many|number of)\b(?:\s+(?:the|of|all))*\s+words\b|word count\b|(?:多少|几)个?(?:单词|词|字)(?!母|符)|字数|词数"),
        ("letters", r"\b(?:count|how many|number of)\b(?:\s+(?:the|of|all))*\s+letters\b|(?:多少|几)个?字母"),
        ("characters", r"\b(?:count|how many|number of)\b(?:\s+(?:the|of|all))*\s+(?:characters|chars)\b|(?:多少|几)个?字符|字符数"),
        ("sentences", r"\b(?:count|how many|number of)\b(?:\s+(?:the|of|all))*\s+sentences\b|(?:多少|几)个?句子|几句话"),
        ("summary", r"\bsummar(?:y|i[sz]e[ds]?|i[sz]ing)\b|\btl;?\s?dr\b|\bshorten\b|总结|概括|摘要"),
    )
]  # fmt: skip
_OCCURRENCES: Final = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"how (?:many|often)(?: times)?(?: does| do| is| are)?(?: the)?(?: letters?| characters?)?\s+[\"'“‘]?(?P<needle>\w)[\"'”’]?"
        r"(?:['’]?s)?(?: letters?)?(?: are| is)?(?: there)?(?: appear| occur)?s? in\s+(?P<subject>.+)",
        r"(?P<subject>[“\"「'][^“”\"「」]{1,200}[”\"」']|[^“”\"「」'\s]{1,200})\s*(?:里面|里|中)(?:面)?有(?:多少|几)个?(?:字母)?"
        r"\s*[“\"「']?(?P<needle>(?![词字句单个])\w)[”\"」']?",
    )
]
_QUOTED = re.compile(r'"([^"]+)"|“([^“”]+)”|「([^「」]+)」|«([^«»]+)»|`([^`]+)`|(?<!\w)[\'‘]([^\'‘’]+)[\'’](?!\w)')
_COLON = re.compile(r"[:：]\s*|\n+")
_FILLER = re.compile(
    r"^(?:please|can|could|you|convert|turn|make|write|put|print|give|tell|show|me|what(?:'s)?|is|are|the|a|an|words?|text"
    r"|string|sentence|phrase|name|of|in|to|into|for|from|with|there|this|following|does|have|has|it|and|then|spell"
    r"|letters?|as|all|order|result|put|do|by|its|your|out|up|请|把|将|帮我|一下|给|这个|这句话|单词|文字|的|里|有|是|吗|变成|转成|转换为|转换成|改成|改为|写成|用|个|不是|按字母|按)(?=$|[\W_]|(?<=[\u4e00-\u9fff]))",
    re.IGNORECASE,
)
_FILLER_AT_END = re.compile(
    r"(?:(?<![\w])(?:please|the|a|an|words?|of|in|to|into|for|there|it|and|then|is|are|as|does|have|has|contains?|letters|order|by)"
    r"|变成|转成|转换为|转换成|改成|改为|写成|用|有|是|吗|的|成|不是|一下|里|按字母|按|个)$",
    re.IGNORECASE,
)
_EDGES: Final = " \t\n.,;:!?。，；：！？"
_LONGEST_INSTRUCTION: Final = 600


@dataclass(frozen=True, slots=True)
class Instruction:
    """What to do with `subject`. `is_explicit` when the text was set off, in quotes or after a
    colon."""

    operations: tuple[str, ...]
    subject: str
    is_explicit: bool
    needle: str = ""


def read(text: str) -> Instruction | None:
    """The text operation in `text`; None when there is none, or nothing to do it with."""
    text = text.strip()
    for pattern in _OCCURRENCES:
        if match := pattern.search(text[:_LONGEST_INSTRUCTION]):
            return Instruction(("occurrences",), _without_filler(_unquoted(match["subject"])), True, match["needle"])
    wording, subject = _split(text)
    if subject:
        operations, _ = _operations(wording)
        return Instruction(operations, subject, True) if operations else None
    operations, rest = _operations(text[:_LONGEST_INSTRUCTION])
    subject = _without_filler(rest)
    return Instruction(operations, subject, False) if operations and subject else None


def _split(text: str) -> tuple[str, str]:
    """The wording and the text it is about; the latter empty when nothing sets it off."""
    colon, quoted = _COLON.search(text), _QUOTED.search(text)
    if colon and (not quoted or colon.start() < quoted.start()) and _operations(text[: colon.start()])[0]:
        return text[: colon.start()], _unquoted(text[colon.end() :].strip())
    if quoted:
        longest = max(_QUOTED.finditer(text), key=lambda match: len(match.group()))
        return f"{text[: longest.start()]} {text[longest.end() :]}", next(part for part in longest.groups() if part)
    return text, ""


def _operations(wording: str) -> tuple[tuple[str, ...], str]:
    """The operations in the order they are named, and the wording without them."""
    operations: list[tuple[int, str]] = []
    for name, pattern in _OPERATIONS:
        if match := pattern.search(wording):
            operations.append((match.start(), name))
            wording = wording[: match.start()] + " " * len(match.group()) + wording[match.end() :]
    return tuple(name for _, name in sorted(operations)), wording


def _unquoted(text: str) -> str:
    match = _QUOTED.fullmatch(text.strip().rstrip("?？.。"))
    return next(part for part in match.groups() if part) if match else text


def _without_filler(text: str) -> str:
    """`text` without the words that lead up to it: "the word hello to" → "hello"."""
    before = None
    while text != before:
        before = text
        text = text.strip(_EDGES)
        text = _FILLER_AT_END.sub("", _FILLER.sub("", text)).strip(_EDGES)
    return " ".join(text.split())
