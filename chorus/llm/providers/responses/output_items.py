"""The output items of one answer, in pieces or whole, as chunks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chorus import wirejson
from chorus.llm.base import MAX_CALLS, Chunk
from chorus.llm.providers.responses.reasoning import DETAILS, MESSAGE, details_of, name_of
from chorus.llm.providers.tool_names import OwnNames
from chorus.llm.reading.answer_text import AnswerText
from chorus.llm.reading.lenient import string_of, whole
from chorus.llm.reading.surrogates import Joiner, mend
from chorus.llm.reading.tool_calls import MAX_EXTRA_DEPTH, arguments_text, too_many_calls
from chorus.types import RESPONSES_ITEMS, Extra, ToolPiece
from chorus.wirejson import JSON

_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_BETWEEN: Final = "\n\n"
"""What stands between the parts of a summary, and between two messages."""


class _Call:
    """A call that has begun. The text of a custom tool goes out as the one argument of its
    function."""

    def __init__(self, place: int, *, is_custom: bool) -> None:
        self.place = place
        self.is_custom = is_custom
        self._come: list[str] = []
        """The arguments so far, or the text."""
        self._joiner = Joiner()

    def grown(self, delta: str) -> str:
        """Return the arguments that `delta` adds."""
        is_first = not self._come
        self._come.append(delta)
        return self._written(self._joiner.feed(delta), is_first=is_first)

    def ended(self, whole: str) -> str:
        """Return the arguments that are missing when the call is over, which has come as
        `whole`."""
        come, is_first = "".join(self._come), not self._come
        rest = whole[len(come) :] if whole.startswith(come) else ""
        missing = self._written(self._joiner.feed(rest) + self._joiner.flush(), is_first=is_first)
        if self.is_custom:
            return missing + '"}'
        return missing or ("" if come else "{}")

    def _written(self, text: str, *, is_first: bool) -> str:
        if not self.is_custom:
            return text
        return ('{"input":"' if is_first else "") + wirejson.encode(text).decode()[1:-1]


class OutputItems:
    """Reads the items of one answer, each in pieces and then whole, or whole only."""

    def __init__(
        self,
        name: str,
        functions: Mapping[str, str],
        names: OwnNames,
        warn: Callable[[str], None],
        *,
        takes_items: bool,
    ) -> None:
        """`name` is the model's, for errors.

        `functions` has the functions that stand for custom tools, by the names of these, and
        `names` the client's names of tools. `takes_items`: the client speaks Responses, and gets
        the items of hosted tools as they are.
        """
        self._name = name
        self._functions = functions
        self._names = names
        self._warn = warn
        self._takes_items = takes_items
        self._text = AnswerText()
        self._calls: dict[int, _Call] = {}
        self._seen: set[int] = set()
        self._said: set[int] = set()
        """The messages and the reasoning items of which pieces have come."""
        self._cited: dict[int, int] = {}
        """Citations that have come of each message."""
        self._has_message = False
        self._has_thought = False
        self._is_new_thought = False
        self._phase: str | None = None
        self._waiting: list[Mapping[str, JSON]] = []
        """Reasoning items that are whole, until it is known what stands behind them."""
        self.is_refusal = False
        self.has_said = False

    @property
    def has_calls(self) -> bool:
        """Whether there is a call of a tool that the client runs."""
        return bool(self._calls)

    def is_plain(self, index: int) -> bool:
        """Return whether a piece of the text of this message goes out as it is."""
        return self._text.is_plain and index in self._said

    def began(self, index: int, item: Mapping[str, Any]) -> Chunk | None:
        """Return what goes out where an item begins."""
        kind = string_of(item.get("type"))
        if index in self._seen or kind == "reasoning":
            return None
        self._seen.add(index)
        if kind in _CALLS and not item.get("namespace"):
            return self._begun_call(index, item, is_custom=kind == "custom_tool_call")
        before = MESSAGE if kind == "message" else name_of(item)
        return self._chunk(extra={**self._placed(before), **self._new_phase(item)})

    def spoke(self, index: int, delta: str, logprobs: JSON = None) -> Chunk | None:
        """Return what a piece of a message adds."""
        joint = _BETWEEN if index not in self._said and self._has_message else ""
        self._has_message = True
        self._said.add(index)
        text, thought = self._text.feed(joint + delta, "")
        return self._chunk(text, thought, logprobs={"content": logprobs} if logprobs else None)

    def refused(self, index: int, delta: str) -> Chunk | None:
        """Return what a piece of a refusal adds: its words are the answer."""
        self.is_refusal = True
        return self.spoke(index, delta)

    def new_thought(self) -> None:
        """Note that another part of reasoning begins."""
        self._is_new_thought = True

    def thought(self, index: int, delta: str) -> Chunk | None:
        """Return what a piece of reasoning adds."""
        joint = _BETWEEN if self._has_thought and (self._is_new_thought or index not in self._said) else ""
        self._has_thought, self._is_new_thought = True, False
        self._said.add(index)
        text, thought = self._text.feed("", joint + delta)
        return self._chunk(text, thought)

    def called(self, index: int, delta: str) -> Chunk | None:
        """Return what a piece of the arguments of a call adds."""
        call = self._calls.get(index)
        if call is None or not delta:
            return None
        return self._chunk(piece=ToolPiece(call.place, arguments=call.grown(delta)))

    def cited(self, index: int, annotation: JSON) -> Chunk | None:
        """Return what a citation of a message adds: in chat's shape, which nests its fields."""
        self._cited[index] = self._cited.get(index, 0) + 1
        kind = annotation.get("type") if isinstance(annotation, Mapping) else None
        if not isinstance(annotation, Mapping) or not isinstance(kind, str):
            return None
        if wirejson.is_deeper(annotation, MAX_EXTRA_DEPTH):
            return None
        fields = {key: value for key, value in annotation.items() if key != "type"}
        return self._chunk(extra={"annotations": [{"type": kind, kind: fields}]})

    def done(self, index: int, item: Mapping[str, Any]) -> list[Chunk]:
        """Return what goes out where an item is whole: all of it that has not come in pieces."""
        kind = string_of(item.get("type"))
        if kind == "reasoning":
            return self._done_reasoning(index, item)
        chunks = [self.began(index, item)]
        if kind == "message":
            chunks += self._done_message(index, item)
        elif (call := self._calls.get(index)) is not None:
            given = item.get("input") if call.is_custom else item.get("arguments")
            if rest := call.ended(mend(arguments_text(given))[0]):
                chunks.append(self._chunk(piece=ToolPiece(call.place, arguments=rest)))
        elif kind:
            chunks.append(self._whole(kind, item))
        return [chunk for chunk in chunks if chunk is not None]

    def flush(self) -> Chunk:
        """Return what is held back when the answer is over."""
        text, reasoning = self._text.flush()
        return Chunk(text, reasoning, extra=self._placed(None) or None)

    def _begun_call(self, index: int, item: Mapping[str, Any], *, is_custom: bool) -> Chunk | None:
        if len(self._calls) == MAX_CALLS:
            raise too_many_calls(self._name)
        call = self._calls[index] = _Call(len(self._calls), is_custom=is_custom)
        call_id = mend(string_of(item.get("call_id")) or string_of(item.get("id")) or f"call_{call.place}")[0]
        name = mend(string_of(item.get("name")))[0]
        piece = ToolPiece(call.place, call_id, self._functions.get(name, name) if is_custom else self._names.of(name))
        return self._chunk(piece=piece, extra=self._placed(call_id))

    def _done_message(self, index: int, item: Mapping[str, Any]) -> list[Chunk | None]:
        chunks: list[Chunk | None] = []
        parts = item.get("content")
        is_new = index not in self._said
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, Mapping):
                continue
            if is_new and part.get("type") == "refusal":
                chunks.append(self.refused(index, string_of(part.get("refusal"))))
            elif is_new:
                logprobs = part.get("logprobs")
                chunks.append(self.spoke(index, string_of(part.get("text")), _list(logprobs) or None))
            chunks += [
                self.cited(index, annotation)
                for annotation in _list(part.get("annotations"))[self._cited.get(index, 0) :]
            ]
        chunks.append(self._chunk(extra=self._new_phase(item)))
        return chunks

    def _new_phase(self, item: Mapping[str, Any]) -> dict[str, JSON]:
        """Return whether a message is the answer or a comment on the work, where it says so."""
        phase = item.get("phase")
        if not isinstance(phase, str) or phase in ("", self._phase):
            return {}
        self._phase = phase
        return {"phase": phase}

    def _done_reasoning(self, index: int, item: Mapping[str, Any]) -> list[Chunk]:
        chunks: list[Chunk | None] = []
        if index not in self._said:
            for field in ("content", "summary"):
                parts = item.get(field)
                texts = [part["text"] for part in parts if _has_text(part)] if isinstance(parts, list) else []
                for text in texts:
                    self.new_thought()
                    chunks.append(self.thought(index, text))
                if texts:
                    break
        if not wirejson.is_deeper(item, MAX_EXTRA_DEPTH):
            self._waiting.append(item)
        return [chunk for chunk in chunks if chunk is not None]

    def _whole(self, kind: str, item: Mapping[str, Any]) -> Chunk | None:
        """Return the chunk of an item that goes out as it is."""
        if not self._takes_items or wirejson.is_deeper(item, MAX_EXTRA_DEPTH):
            self._warn(f"'{mend(kind[:40])[0]}' of the answer is left out: only clients of the Responses API know it.")
            self.has_said = True
            return None
        return self._chunk(extra={RESPONSES_ITEMS: [{"item": item}]})

    def _placed(self, before: str | None) -> dict[str, JSON]:
        """Return the reasoning items that wait, now that it is known what stands behind them."""
        if not self._waiting:
            return {}
        waiting, self._waiting = self._waiting, []
        details = [entry for item in waiting for entry in details_of(item, before)]
        return {DETAILS: details} if details else {}

    def _chunk(
        self,
        text: str = "",
        reasoning: str = "",
        *,
        piece: ToolPiece | None = None,
        extra: Extra | None = None,
        logprobs: JSON = None,
    ) -> Chunk | None:
        if not (text or reasoning or piece or extra or logprobs):
            return None
        self.has_said = True
        extra = whole(extra) if extra else None  # without halves of characters
        calls = (piece,) if piece is not None else ()
        return Chunk(text, reasoning, calls, logprobs=logprobs, extra=extra)


def _list(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def _has_text(part: JSON) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)
