"""Streamed tool calls as the client knows its tools: `custom`, and the old `function_call`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chorus.events import Event
from chorus.server.dialects.openai.tools import Toolbox, custom_input
from chorus.server.http.frames import Encoder, Frame


class RestoredCalls:
    """An encoder around that of chat, for a request with `custom` tools or `functions`. The text of
    a custom call goes out whole before the finish reason: its pieces are pieces of JSON until then.
    """

    def __init__(self, inner: Encoder, toolbox: Toolbox) -> None:
        self._inner = inner
        self._toolbox = toolbox
        self._inputs: dict[tuple[int, int], list[str]] = {}
        """The argument text of each custom call, by its choice and index."""

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        for frame in self._inner.encode(event):
            choices = frame.data.get("choices") if isinstance(frame.data, dict) else None
            yield from self._restored(frame.data, choices[0]) if choices else (frame,)

    def _restored(self, data: dict[str, Any], choice: dict[str, Any]) -> Iterator[Frame]:
        delta: dict[str, Any] = dict(choice["delta"])
        finish = choice["finish_reason"]
        pieces = delta.pop("tool_calls", None)
        if pieces and self._toolbox.is_old:
            delta |= _function_call(pieces)
        elif pieces and (
            shown := [restored for restored in (self._piece(choice["index"], p) for p in pieces) if restored]
        ):
            delta["tool_calls"] = shown
        if finish is not None:
            for piece in self._written(choice["index"]):
                yield _frame(data, {**choice, "delta": {"tool_calls": [piece]}, "finish_reason": None}, is_last=False)
            if finish == "tool_calls" and self._toolbox.is_old:
                finish = "function_call"
        if delta or not pieces:
            yield _frame(data, {**choice, "delta": delta, "finish_reason": finish})

    def _piece(self, choice: int, piece: dict[str, Any]) -> dict[str, Any] | None:
        """Return a piece of a call as it goes out; None for text that is kept until the end."""
        place = (choice, piece["index"])
        function: dict[str, Any] = piece.get("function") or {}
        if function.get("name") in self._toolbox.customs:
            self._inputs[place] = [function.get("arguments") or ""]
            rest = {key: value for key, value in piece.items() if key not in ("function", "type")}
            return {**rest, "type": "custom", "custom": {"name": function["name"], "input": ""}}
        if place not in self._inputs:
            return piece
        self._inputs[place].append(function.get("arguments") or "")
        return None

    def _written(self, choice: int) -> Iterator[dict[str, Any]]:
        """Return the text of each custom call of a choice."""
        for (owner, index), pieces in self._inputs.items():
            if owner == choice:
                yield {"index": index, "custom": {"input": custom_input("".join(pieces))}}


def _function_call(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the old clients read: one call, without an id."""
    return next(({"function_call": piece["function"]} for piece in pieces if piece["index"] == 0), {})


def _frame(data: dict[str, Any], choice: dict[str, Any], *, is_last: bool = True) -> Frame:
    """Return a chunk with this choice. The trace stays on the last one."""
    head = data if is_last else {key: value for key, value in data.items() if key != "workflow"}
    return Frame({**head, "choices": [choice]})
