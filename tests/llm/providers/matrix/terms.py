"""What a test asks, and what a client reads of the answer, in neutral terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from tests.kit.providers import Finish, ToolUse

Item = dict[str, Any]


@dataclass(frozen=True)
class ToolResult:
    """What a tool gave back; `image` is base64 of a PNG."""

    call: ToolUse
    text: str
    image: str = ""


@dataclass(frozen=True)
class ReadAnswer:
    """What the client reads of an answer."""

    status: int
    text: str = ""
    thinking: str = ""
    calls: tuple[ToolUse, ...] = ()
    finish: Finish | None = None
    """None where the answer does not end as it should."""
    usage: tuple[int, int] | None = None
    error: str = ""
    """The message of the error, wherever it stands."""
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Question:
    """What a client asks.

    `turns` are texts of the user, items of earlier answers, and results of tools.
    """

    turns: tuple[str | tuple[Item, ...] | tuple[ToolResult, ...], ...]
    model: str = "once"
    system: str = ""
    tools: tuple[str, ...] = ()
    """Names; each tool takes a city."""
    schema: Mapping[str, Any] | None = None
    thinks: bool = False
    stream: bool = False

    def after(self, answer: ReadAnswer, *more: str | ToolResult) -> Self:
        """The same conversation behind this answer, with a text or results of tools."""
        turns: list[Any] = [*self.turns, answer.history]
        if results := tuple(each for each in more if isinstance(each, ToolResult)):
            turns.append(results)
        turns += [each for each in more if isinstance(each, str)]
        return replace(self, turns=tuple(turns))
