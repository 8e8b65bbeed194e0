"""Learn from the refusals of one replica which fields it does not take, or under which names.

A refusal teaches only about a field that Chorus adds or renames, or without which the answer is the
same in kind. One that says that a value is wrong (too large, missing) teaches nothing: the next
caller's may be right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Any, Final

from chorus import wirejson
from chorus.llm.providers.fields import OF_TOOLS
from chorus.llm.providers.tool_names import is_odd
from chorus.llm.providers.traits import EFFORTS, Traits, nearest_effort
from chorus.llm.reading.lenient import value_of
from chorus.wirejson import JSON

MAX_LESSONS_PER_CALL: Final = 4
"""How often one call is tried again, each time with another lesson."""

OPTIONAL: Final = (
    "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "presence_penalty",
    "frequency_penalty", "reasoning_effort", "parallel_tool_calls", "stop", "seed", "think", "keep_alive", "user",
    "metadata", "store", "service_tier", "verbosity", "truncation", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "client_metadata", "encoding_format", "echo",
    "top_k", "min_p",
)  # fmt: skip
"""Fields of a request without which the answer is the same in kind.

Chorus enforces stop words and echoes itself.
"""
OF_MESSAGES: Final = (
    "reasoning_content", "reasoning_details", "extra_content", "cache_control", "annotations", "refusal", "audio",
    "thinking", "signature", "tool_name", "phase", "name",
)  # fmt: skip
"""Fields of messages, parts and tool calls without which the conversation can be understood."""

OF_OUTPUT: Final = {"effort": "effort", "format": "output_config.format"}
"""Fields of Anthropic's `output_config` that an answer can do without, by what a lesson calls
them.
"""
TOOL_NAMES: Final = "tool_names"
"""In `Traits.omit`: names of functions that OpenAI refuses are sent as others."""
_ADAPTIVE: Final = "adaptive thinking"
_BUDGET: Final = "thinking with a budget"

_COMMON_WORDS: Final = frozenset(
    {"name", "user", "stop", "store", "seed", "metadata", "audio", "signature", "thinking", "phase"}
)
"""Names that stand in many sentences and mean a field only where they are written as one."""
_ALIASES: Final = {"reasoning_effort": ("reasoning effort", "effort"), "think": ("thinking",)}

_UNSUPPORTED: Final = re.compile(
    r"unsupported|not[ _]support|n't support|unknown|unrecogni[sz]ed|not recogni[sz]ed|unexpected|extraneous"
    r"|extra[ _](?:inputs?|fields?|forbidden)|not (?:permitted|allowed|accepted|available|implemented|compatible)"
    r"|forbidden|cannot (?:both )?be (?:used|set|specified|sent|combined)|deprecated|incompatible|no such"
    r"|may only be set|only (?:allowed|supported|available|valid|permitted)|only the default|only [^ ]{1,12} is (?:allowed|supported)|not a valid (?:parameter|field|argument)"
    r"|invalid[ _](?:parameter|argument|field|key)|n't accept|not accept|additional propert|disallowed",
    re.IGNORECASE,
)
_OF_THE_VALUE: Final = re.compile(
    r"greater than|less than|at most|at least|out of range|exceed|too (?:large|long|small|high|low|big|many)"
    r"|missing|should be|range of|must be (?:between|in|at|an?|positive|passed|provided)\b|context length",
    re.IGNORECASE,
)
_OF_THE_EFFORT: Final = re.compile(
    r"unsupported value|supported values|one of|should be|invalid value|valid values", re.I
)
_QUOTED_EFFORT: Final = re.compile(rf"""['"`]({"|".join(EFFORTS)})['"`]""")
_BARE_EFFORT: Final = re.compile(rf"\b({'|'.join(EFFORTS[1:])})\b")
_OF_THE_ROLE: Final = re.compile(r"supported values|one of|should be|invalid|expected", re.IGNORECASE)
_SYSTEM_FIRST: Final = re.compile(
    r"system (?:message|role|prompt).{0,80}(?:beginning|first|start)|(?:only|at most) one system message", re.IGNORECASE
)
_NAME_OF_A_TOOL: Final = re.compile(
    r"(?:tools?|tool_calls|functions?|function_declarations)(?:\[\d+\])?[. ]{1,2}(?:function\.)?names?\b|工具名称",
    re.IGNORECASE,
)
_ODD_NAME: Final = re.compile(r"too long|maximum length|at most|exceed|pattern|invalid|must start|过长", re.IGNORECASE)
_NO_COMPLETIONS: Final = re.compile(r"chat model|chat/completions|completion operation does not work", re.IGNORECASE)
_MISSING_ENDPOINT: Final = frozenset({404, 405, 501})
_TEACHING: Final = frozenset({400, 422}) | _MISSING_ENDPOINT

_MAX_STATEMENTS: Final = 16
_MAX_STATEMENT_CHARS: Final = 2000
_MAX_DEPTH: Final = 8
_SAID: Final = (
    "type", "code", "param", "loc", "message", "msg", "detail", "error", "raw", "reason", "errors", "metadata",
    "details", "description", "title",
)  # fmt: skip
"""Keys of an error body that say what is wrong; others (`input`) repeat the request."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """`field`, or `value` of it, is left out, or sent as `instead`."""

    field: str
    instead: str | None = None
    value: str | None = None
    is_kept: bool = True
    """Whether it holds for later calls; False of what is wrong with one conversation."""

    def __str__(self) -> str:
        what = f"{self.field} '{self.value}'" if self.value is not None else self.field
        return f"{what} is sent as {self.instead}" if self.instead is not None else f"{what} is left out"

    def applied(self, traits: Traits) -> Traits:
        """`traits` with this lesson."""
        if self.instead == "max_tokens":
            return replace(traits, max_tokens_field="max_tokens")
        if self.instead == "max_completion_tokens":
            return replace(traits, max_tokens_field="max_completion_tokens")
        if self.field == "developer":
            return replace(traits, developer=False)
        if self.field == "system":
            return replace(traits, system="first")
        if self.instead == "messages":
            return replace(traits, takes_prompts=False)
        if self.field == "thinking" and self.instead is not None:
            return replace(traits, adaptive_thinking=self.instead == _ADAPTIVE)
        if self.field == "think" and self.instead is not None:
            return replace(traits, thinks_by_levels=False)
        if self.value is not None and self.instead is not None:
            return replace(traits, refused_efforts=(*traits.refused_efforts, (self.value, self.instead)))
        return replace(traits, omit=traits.omit | {self.field})


class Learned:
    """The lessons of one replica. Their number is bounded by the fields that they can be about."""

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        self._known = traits
        self._lessons: list[Lesson] = []

    def remember(self, lessons: Sequence[Lesson]) -> None:
        """Keep `lessons`, with which a call succeeded.

        A later one takes the place of its opposite.
        """
        for lesson in (lesson for lesson in lessons if lesson.is_kept):
            self._lessons = [known for known in self._lessons if known != lesson and not _is_undone(known, (lesson,))]
            self._lessons.append(lesson)
        self.traits = reduce(lambda traits, lesson: lesson.applied(traits), self._lessons, self._known)

    def as_json(self) -> list[str]:
        """Return a sentence for each lesson, for `GET /api/v1/upstreams`."""
        return [str(lesson) for lesson in self._lessons]


def lesson_of(status: int, error: bytes, content: bytes, traits: Traits, before: Sequence[Lesson]) -> Lesson | None:
    """Return what the refusal of a request teaches; None where it is the caller's own fault.

    `error` is the body of the refusal, `content` that of the request, `traits` those by which it
    was written. `before` are the lessons of this call: a field whose rename was refused, too, stays
    as it is.
    """
    if status not in _TEACHING:
        return None
    try:
        sent: dict[str, Any] = wirejson.decode(content)
    except ValueError:
        # ours, but one level deeper than the deepest request that is read, or with a value more
        return None
    said = list(statements(error))
    is_prompt = "prompt" in sent and not traits.is_ollama and not sent.keys() & {"suffix", "logprobs"}
    only_chats = status in _MISSING_ENDPOINT or (status == 400 and any(map(_NO_COMPLETIONS.search, said)))
    if is_prompt and only_chats:
        return Lesson("prompt", instead="messages")
    if status in _MISSING_ENDPOINT:
        return None
    messages = sent.get("messages") or ()
    fields = [name for name in OPTIONAL if name in sent] + sorted(_message_fields(messages, sent.get("tools")))
    output = sent.get("output_config")
    fields += [name for key, name in OF_OUTPUT.items() if isinstance(output, dict) and key in output]
    roles = {message["role"] for message in messages}
    for statement in said:
        lesson = (
            _of_roles(statement, roles, traits)
            or _of_names(statement, sent)
            or _of_thinking(statement, sent.get("thinking"))
            or _of_statement(statement, fields, sent)
        )
        if lesson is not None and lesson not in before and not _is_undone(lesson, before):
            return lesson
    return None


def _is_undone(lesson: Lesson, before: Sequence[Lesson]) -> bool:
    return lesson.instead is not None and any(lesson.instead == earlier.field for earlier in before)


def _of_roles(statement: str, roles: set[str], traits: Traits) -> Lesson | None:
    says_no = _UNSUPPORTED.search(statement) or _OF_THE_ROLE.search(statement)
    if "developer" in roles and "developer" in statement and says_no:
        return Lesson("developer", instead="system")
    if traits.system == "anywhere" and roles & {"system", "developer"} and _SYSTEM_FIRST.search(statement):
        return Lesson("system", instead="one message at the beginning")
    return None


def _of_names(statement: str, sent: Mapping[str, Any]) -> Lesson | None:
    """Return what a refusal of the name of a function teaches, where one has such a name."""
    if not (_NAME_OF_A_TOOL.search(statement) and _ODD_NAME.search(statement)):
        return None
    called = [call for message in sent.get("messages") or () for call in message.get("tool_calls") or ()]
    functions = [tool["function"] for tool in (*(sent.get("tools") or ()), *called) if "function" in tool]
    if not any(is_odd(function.get("name")) for function in functions):
        return None
    return Lesson(TOOL_NAMES, instead="names that OpenAI takes")


def _of_thinking(statement: str, thinking: JSON) -> Lesson | None:
    """Return what a refusal of Anthropic's `thinking` teaches: newer models take no budget, older
    ones nothing else.
    """
    if not isinstance(thinking, dict) or "thinking" not in statement or not _UNSUPPORTED.search(statement):
        return None
    if thinking.get("type") == "enabled" and "adaptive" in statement:
        return Lesson("thinking", instead=_ADAPTIVE)
    if thinking.get("type") == "adaptive" and "adaptive" in statement:
        return Lesson("thinking", instead=_BUDGET)
    return None


def _of_statement(statement: str, fields: Sequence[str], sent: Mapping[str, Any]) -> Lesson | None:
    named = sorted((place, name) for name in fields if (place := _place(statement, name)) is not None)
    if not named:
        return None
    names = [name for _, name in named]
    if names[0] == "reasoning_effort" and _OF_THE_EFFORT.search(statement):
        return _of_effort(statement, sent["reasoning_effort"])
    if not refuses_field(statement):
        return None
    # "temperature and top_p cannot both be specified"
    name = "top_p" if "top_p" in names and "both" in statement else names[0]
    if name == "max_tokens":
        return Lesson(name, instead="max_completion_tokens")
    if name == "max_completion_tokens":
        return Lesson(name, instead="max_tokens")
    if name == "think" and isinstance(sent[name], str) and "value" in statement:
        return Lesson(name, instead="true")
    return Lesson(name)


def refuses_field(statement: str) -> bool:
    """Return whether `statement` says that a field is not taken, and not that its value is
    wrong.
    """
    return bool(_UNSUPPORTED.search(statement)) and not _OF_THE_VALUE.search(statement)


def effort_lesson(statement: str, effort: JSON) -> Lesson | None:
    """Return what `statement`, which names the effort, teaches of this value.

    None where it says nothing of values.
    """
    return _of_effort(statement, effort) if _OF_THE_EFFORT.search(statement) else None


def _of_effort(statement: str, effort: JSON) -> Lesson | None:
    """Return the effort that is sent in place of a refused one: the nearest of those that the
    refusal names.
    """
    if not isinstance(effort, str) or effort not in EFFORTS:
        return None  # the caller's own word
    named = set(_QUOTED_EFFORT.findall(statement)) or set(_BARE_EFFORT.findall(statement))
    known = tuple(word for word in EFFORTS if word in named and word != effort)
    return (
        Lesson("reasoning_effort", instead=nearest_effort(effort, known), value=effort)
        if known
        else (Lesson("reasoning_effort"))
    )


def _place(statement: str, name: str) -> int | None:
    """Return where `statement` names the field."""
    match = _pattern(name).search(statement)
    return match.start() if match else None


@cache
def _pattern(name: str) -> re.Pattern[str]:
    head, *rest = name.split("_")
    camel = head + "".join(word.capitalize() for word in rest)
    names = "|".join(map(re.escape, sorted({name, camel, *_ALIASES.get(name, ())}, key=len, reverse=True)))
    if name == "name":
        return re.compile(r"(?:messages\S*[.\]']|property ['\"`]?)name\b")
    if name in _COMMON_WORDS:
        return re.compile(rf"(?:['\"`.\[\]]|(?:parameter|argument|field|supplied|key|model):? ){names}(?![A-Za-z0-9_])")
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{names})(?![A-Za-z0-9_])")


def statements(error: bytes) -> Iterator[str]:
    """Return what an error body says, one text for each object in it, without what it repeats of
    the request.
    """
    try:
        value = value_of(error)
    except (ValueError, RecursionError):
        value = error[: 4 * _MAX_STATEMENT_CHARS].decode("utf-8", "replace")
    found: list[str] = []
    _collect(value, found, 0)
    return iter(found)


def _collect(value: JSON, found: list[str], depth: int) -> None:
    if depth > _MAX_DEPTH or len(found) >= _MAX_STATEMENTS:
        return
    if isinstance(value, str):
        found.append(value[:_MAX_STATEMENT_CHARS])
    elif isinstance(value, list):
        for item in value[:_MAX_STATEMENTS]:
            _collect(item, found, depth + 1)
    elif isinstance(value, dict):
        own = [_words(value[key]) for key in _SAID if key in value]
        if text := " ".join(words for words in own if words):
            found.append(text[:_MAX_STATEMENT_CHARS])
        for key in _SAID:
            if isinstance(value.get(key), dict | list) and key != "loc":
                _collect(value[key], found, depth + 1)


def _words(value: JSON) -> str:
    """Return a text, or the path of a field (`["body", "messages", 1, "name"]`)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str | int) for item in value):
        return ".".join(map(str, value))
    return ""


def _message_fields(messages: Sequence[dict[str, Any]], tools: JSON) -> set[str]:
    """Return those of `OF_MESSAGES` that a message has, or one of its parts or tool calls.

    And those of `OF_TOOLS` that a tool has.
    """
    encoded = wirejson.encode(tools)
    fields = {name for name in OF_TOOLS if f'"{name}"'.encode() in encoded}
    for message in messages:
        fields |= message.keys() & set(OF_MESSAGES)
        for key in ("content", "tool_calls"):
            if isinstance(items := message.get(key), list):
                for item in items:
                    fields |= item.keys() & set(OF_MESSAGES)
    return fields
