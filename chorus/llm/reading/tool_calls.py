"""Put the tool calls of a streamed answer together, whatever a provider does to them.

OpenAI's rule: `index` names the call, id and name stand in its first piece. Providers differ.
Gemini sends whole calls one after another, each as index 0 and without an id; others send the name
after the id, a tail of the arguments under another index, a new id or the same one with each piece,
or the arguments as an object. What goes out of here follows the rule: each call has its own index,
its id and name once at the start, and arguments that are JSON text, `{}` where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from chorus import wirejson
from chorus.errors import UpstreamProtocol
from chorus.llm.base import MAX_CALLS
from chorus.llm.reading.lenient import compact, whole
from chorus.llm.reading.surrogates import Joiner, is_whole, mend
from chorus.types import Extra, ToolPiece
from chorus.wirejson import JSON

MAX_EXTRA_DEPTH: Final = 32
"""Levels of an unknown field that are passed on; what is deeper could not be written again."""

_KNOWN_FIELDS: Final = frozenset({"index", "id", "type", "function", "name", "arguments"})


class CallPart(msgspec.Struct, frozen=True, gc=False):
    """What one entry of `tool_calls` says; empty texts where it says nothing."""

    index: int | None
    id: str
    name: str
    arguments: str
    extra: Extra | None = None


def parts_of(tool_calls: JSON) -> list[CallPart]:
    """Return the entries of a `tool_calls` field; entries that are no objects are left out.

    Raises:
        UpstreamProtocol: arguments are nested too deep to be written.
    """
    if not isinstance(tool_calls, list):
        return []
    return [_part_of(entry) for entry in tool_calls if isinstance(entry, dict)]


def _part_of(entry: dict[str, Any]) -> CallPart:
    function = entry.get("function")
    if not isinstance(function, dict):
        function = entry
    index, id, name = entry.get("index"), entry.get("id"), function.get("name")
    if isinstance(index, str) and index.isdecimal() and len(index) < 10:
        index = int(index)
    return CallPart(
        index if type(index) is int else None,
        id if isinstance(id, str) else "",
        name if isinstance(name, str) else "",
        arguments_text(function.get("arguments")),
        extra_of(entry, _KNOWN_FIELDS),
    )


def arguments_text(arguments: JSON) -> str:
    """Arguments as JSON text, whatever shape an upstream gives them; empty where there are none."""
    if isinstance(arguments, str):
        return "" if arguments.strip() == "null" else arguments
    return compact(arguments) if arguments else ""


def extra_of(fields: dict[str, Any], known: frozenset[str]) -> Extra | None:
    """Return the fields that are not `known` and hold something; None where there are none."""
    if fields.keys() <= known:
        return None
    extra = {
        name: value
        for name, value in fields.items()
        if name not in known and value not in (None, "", [], {}) and not wirejson.is_deeper(value, MAX_EXTRA_DEPTH)
    }
    return whole(extra) if extra else None


def whole_calls(parts: list[CallPart], name: str, *, before: int = 0) -> tuple[ToolPiece, ...]:
    """Calls that came whole, numbered from `before`, the number of those that the answer had
    already.

    `name` is the model's, for errors. A call without an id, or with that of an earlier one, gets
    one.

    Raises:
        UpstreamProtocol: there are more than `MAX_CALLS`.
    """
    if before + len(parts) > MAX_CALLS:
        raise too_many_calls(name)
    firsts = {part.id: place for place, part in reversed(list(enumerate(parts, before)))}
    return tuple(
        ToolPiece(
            place,
            mend((firsts[part.id] == place and part.id) or f"call_{place}")[0],
            mend(part.name)[0],
            mend(part.arguments)[0] if part.arguments.strip() else "{}",
            part.extra,
        )
        for place, part in enumerate(parts, before)
    )


def too_many_calls(name: str) -> UpstreamProtocol:
    """Return the error for an answer with more than `MAX_CALLS` calls."""
    return UpstreamProtocol(f"Upstream '{name}' began more than {MAX_CALLS} tool calls in one answer")


class ObjectEnd:
    """Tells where a JSON object ends that comes in pieces.

    Each character is looked at once, by C code.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._half_escape = False
        self.has_begun = False
        """Whether anything but white space was fed."""

    def feed(self, text: str) -> None:
        """Read on."""
        if not self.has_begun and not (text and not text.isspace()):
            return
        self.has_begun = True
        if self._half_escape:
            text = "\\" + text
        self._half_escape = (len(text) - len(text.rstrip("\\"))) % 2 == 1
        if self._half_escape:
            text = text[:-1]
        if "\\" in text:
            text = text.replace("\\\\", "").replace('\\"', "")
        parts = text.split('"')
        outside = "".join(parts[int(self._in_string) :: 2])
        self._in_string ^= len(parts) % 2 == 0
        self._depth += outside.count("{") + outside.count("[") - outside.count("}") - outside.count("]")

    @property
    def is_complete(self) -> bool:
        """Whether it has ended."""
        return self.has_begun and self._depth <= 0 and not self._in_string and not self._half_escape


class _OpenCall:
    """A call that has begun."""

    def __init__(self, id: str, number: int) -> None:
        self.number = number
        """How many calls began before it."""
        self.place: int | None = None
        """Its index in the answer that goes out.

        Set when its id and name go out, which waits for the name.
        """
        self.id = id
        self.name = ""
        self.held: list[str] = []
        """Arguments that came before the name."""
        self.extra: dict[str, JSON] = {}
        self.end = ObjectEnd()
        self.joiner: Joiner | None = None
        """Set where the arguments were cut in the middle of a character."""

    def joined(self, arguments: str) -> str:
        if self.joiner is None:
            if is_whole(arguments):
                return arguments
            self.joiner = Joiner()
        return self.joiner.feed(arguments)


class CallAssembler:
    """Puts together the tool calls of one stream."""

    def __init__(self, name: str) -> None:
        """`name` is the model's, for errors."""
        self._name = name
        self._calls: list[_OpenCall] = []
        self._sent = 0
        self._ended = 0
        """How many calls had begun when the upstream said that the answer is over."""
        self._by_index: dict[int | None, _OpenCall] = {}
        """Which call an index of the upstream means now."""
        self._by_id: dict[str, _OpenCall] = {}
        self._named_here: list[_OpenCall] = []
        """The calls that the chunk which is being read has named."""

    def take_all(self, parts: list[CallPart]) -> tuple[ToolPiece, ...]:
        """Return what goes out for the entries of one chunk.

        Two of them that name a tool are two calls. See `take`.
        """
        self._named_here.clear()
        return tuple(piece for part in parts if (piece := self.take(part)) is not None)

    def end_calls(self) -> None:
        """The upstream has said that the answer is over.

        What it names after that is another call (Gemini ends each chunk that holds a call).
        """
        self._ended = len(self._calls)

    @property
    def count(self) -> int:
        """How many calls went out, if only their first pieces."""
        return self._sent

    def take(self, part: CallPart) -> ToolPiece | None:
        """Return what goes out for one piece; None where it has to wait, or says nothing.

        Raises:
            UpstreamProtocol: there are more than `MAX_CALLS` calls.
        """
        call = self._call_of(part)
        if call is None:
            return None
        if part.name:
            self._named_here.append(call)
        if part.id and part.id not in self._by_id:
            # where a new id comes with each piece, any of them means this call
            self._by_id[part.id] = call
            if not call.id and call.place is None:
                call.id = part.id
        call.end.feed(part.arguments)
        arguments = call.joined(part.arguments)
        if call.place is not None:
            if not arguments and part.extra is None:
                return None
            return ToolPiece(call.place, arguments=arguments, extra=part.extra)
        call.name = part.name
        if part.extra is not None:
            call.extra.update(part.extra)
        if arguments:
            call.held.append(arguments)
        return self._begun(call) if call.name else None

    def _begun(self, call: _OpenCall) -> ToolPiece:
        """Return the first piece of a call, with all that is known of it."""
        call.place = self._sent
        self._sent += 1
        arguments = "".join(call.held)
        call.held.clear()
        id = mend(call.id or f"call_{call.place}")[0]
        return ToolPiece(call.place, id, mend(call.name)[0], arguments, call.extra or None)

    def _call_of(self, part: CallPart) -> _OpenCall | None:
        """Return the call that a piece belongs to, a new one where it begins one.

        None where the piece says nothing.
        """
        known = self._by_index.get(part.index)
        named = self._by_id.get(part.id) if part.id else None
        if named is not None:
            if not (named.end.is_complete and part.arguments.strip()):
                return named
            # said twice, or another call of the same id: some give all of their calls the same one
            return self._new(part) if part.name and known is not named else None
        if known is None:
            return self._under_new_index(part)
        if part.name and known.name and not part.id and (known.number < self._ended or known in self._named_here):
            return self._new(part)
        if part.id and known.id and self._is_another(part, known):
            return self._new(part)
        if part.name and known.name and self._is_repeated(part, known):
            return self._new(part)
        if known.end.is_complete and not part.name and part.arguments.strip():
            return self._tail_of(part, known)
        return known

    def _is_another(self, part: CallPart, known: _OpenCall) -> bool:
        """Return whether a new id under the index of `known` begins another call.

        Some send a new id with each piece of one.
        """
        if part.name:
            if not known.name:
                return known.end.is_complete
            if part.name != known.name or known.end.is_complete:
                return True
            if known.end.has_begun:
                return part.arguments.lstrip().startswith("{")
            return not part.arguments.strip() or _is_whole_object(part.arguments)
        if known.end.is_complete:
            return not part.arguments.strip() and part.extra is None and bool(known.name) and part.id != known.id
        return False

    def _is_repeated(self, part: CallPart, known: _OpenCall) -> bool:
        """Return whether a name under the index of `known`, which has one, begins another call."""
        if part.name != known.name:
            return True
        if known.end.is_complete:
            return bool(part.arguments.strip())
        return False

    def _under_new_index(self, part: CallPart) -> _OpenCall | None:
        """Return the call of a piece whose index and id are new."""
        if part.name:
            return self._new(part)
        last = self._calls[-1] if self._calls else None
        if part.arguments.strip():
            is_open = last is not None and last.end.has_begun and not last.end.is_complete
            if last is not None and is_open and not (part.id and part.arguments.lstrip().startswith("{")):
                self._by_index[part.index] = last
                return last
            return self._new(part)
        if part.id:
            return self._new(part)
        return last if part.extra is not None else None

    def _tail_of(self, part: CallPart, known: _OpenCall) -> _OpenCall | None:
        """Return the call of arguments that come when those of their index are complete: one that
        is still open.

        Where none is open, and no new id begins one, they are said twice, as some servers do at the
        end of a stream.
        """
        for call in reversed(self._calls):
            if call.end.has_begun and not call.end.is_complete:
                return call
        if part.id:
            return self._new(part)
        return None

    def _new(self, part: CallPart) -> _OpenCall:
        if len(self._calls) == MAX_CALLS:
            raise too_many_calls(self._name)
        call = _OpenCall(part.id if part.id not in self._by_id else "", len(self._calls))
        self._calls.append(call)
        self._by_index[part.index] = call
        if part.id:
            self._by_id[part.id] = call
        return call

    def flush(self) -> Iterator[ToolPiece]:
        """Yield what the end of the stream adds: calls whose name never came, halves of characters,
        and `{}` for a call that has no arguments.
        """
        for call in self._calls:
            rest = call.joiner.flush() if call.joiner is not None else ""
            if call.place is None:
                if call.end.has_begun:  # a call without a name or arguments is none
                    call.held.append(rest)
                    yield self._begun(call)
            elif not call.end.has_begun:
                yield ToolPiece(call.place, arguments="{}")
            elif rest:
                yield ToolPiece(call.place, arguments=rest)


def _is_whole_object(text: str) -> bool:
    end = ObjectEnd()
    end.feed(text)
    return end.is_complete
