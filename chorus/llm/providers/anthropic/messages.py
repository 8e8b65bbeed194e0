"""The conversation as the Messages API takes it: turns in alternation, results behind their calls.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chorus import anthropic_content
from chorus.anthropic_content import thinking_of
from chorus.llm.providers.anthropic.blocks import Block, blocks_of, marked
from chorus.llm.providers.anthropic.caching import UNMARKED
from chorus.llm.providers.call_ids import NO_RESULT, CallIds
from chorus.llm.providers.conversation import results_placed
from chorus.llm.reading.lenient import value_of, whole
from chorus.types import Message
from chorus.wirejson import JSON

_OPENING: Final = "."
"""What stands for a user's turn where a conversation begins with an answer, or has only system
messages.
"""
_GO_ON: Final = "Continue."
"""What stands behind an answer that has begun, for models that write on behind a user only."""
_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")


class Conversation:
    """Writes one conversation.

    `shared` tells how many of the leading messages several calls have in common; `shared_end` is
    then the last block of them.
    """

    def __init__(
        self, messages: Sequence[Message], shared: int, names: Mapping[str, str], warn: Callable[[str], None]
    ) -> None:
        """`names` has the names of tools that are sent under another one."""
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []
        self.shared_end: Block | None = None
        self._names = names
        self._warn = warn
        self._ids = CallIds(call_id)
        for place, message in enumerate(results_placed(messages)):
            self._take(message)
            if place + 1 == shared and self.turns:
                self.shared_end = self.turns[-1]["content"][-1]
        self._close_calls()
        if not self.turns or self.turns[0]["role"] != "user":
            warn("A user message of one character stands first: the API wants one there.")
            self.turns.insert(0, {"role": "user", "content": [{"type": "text", "text": _OPENING}]})
        self._trim_end()

    @property
    def lacks_thinking(self) -> bool:
        """Whether the last answer calls tools and its thinking is missing, with which it has to
        begin where the model has a budget, even if a text follows the results.
        """
        last = next((turn["content"] for turn in reversed(self.turns) if turn["role"] == "assistant"), None)
        if last is None or last[0]["type"] in UNMARKED:
            return False
        return any(block["type"] == "tool_use" for block in last)

    @property
    def ends_with_an_answer(self) -> bool:
        """Whether the model is to write on where an answer has begun."""
        return bool(self.turns[-1]["role"] == "assistant")

    def end_with_a_user(self) -> None:
        """Let a user ask for the rest of an answer that has begun."""
        if self.ends_with_an_answer:
            self._warn("The model does not go on with the beginning of an answer: a user message asks it to.")
            self._append("user", [{"type": "text", "text": _GO_ON}])

    def _take(self, message: Message) -> None:
        if message.role in ("system", "developer"):
            self._take_system(_with_mark(_native(message) or blocks_of(message.content, self._warn), message))
        elif message.role == "tool":
            self._take_result(message)
        elif message.role == "assistant":
            self._close_calls()
            blocks = _native(message) or _answer(message, self._warn)
            self._append("assistant", _with_mark([self._as_taken(block) for block in blocks], message))
        else:
            self._close_calls()
            self._append("user", _with_mark(_native(message) or blocks_of(message.content, self._warn), message))

    def _take_system(self, blocks: list[Block]) -> None:
        """Take a system message: its texts go to the front, images and files to a user's turn."""
        others = [block for block in blocks if block["type"] != "text"]
        self.system += [block for block in blocks if block["type"] == "text"]
        if others:
            self._warn("Images and files of a system message are sent as a user's: the API takes texts only.")
            self._close_calls()
            self._append("user", others)

    def _as_taken(self, block: Block) -> Block:
        """Return a block of an answer, of a call with an id and a name that the API takes."""
        if block["type"] != "tool_use":
            return block
        name = block.get("name")
        return {**block, "id": self._ids.of_call(str(block.get("id"))), "name": self._names.get(str(name), name)}

    def _append(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            content = self.turns[-1]["content"]
            if blocks[0]["type"] == "tool_result":  # results stand first
                place = sum(block["type"] == "tool_result" for block in content)
                content[place:place] = blocks
            else:
                content += blocks
        else:
            self.turns.append({"role": role, "content": blocks})

    def _take_result(self, message: Message) -> None:
        native = _native(message)
        id = self._ids.of_result(message.tool_call_id or self._ids.first_waiting() or "")
        if id is None:
            self._warn("The result of a tool call that is not there is sent as a text.")
            name = message.name or message.tool_call_id or "a tool"
            texts = blocks_of(message.content, self._warn)
            self._append("user", [{"type": "text", "text": f"Result of {name}:"}, *texts])
            return
        if native:
            self._append("user", [{**native[0], "tool_use_id": id}])
            return
        content = blocks_of(message.content, self._warn)
        result: Block = {"type": "tool_result", "tool_use_id": id}
        marks = [block.pop("cache_control") for block in content if "cache_control" in block]
        if len(content) == 1 and content[0]["type"] == "text":
            result["content"] = content[0]["text"]
        elif content:
            result["content"] = content
        if marks:
            result["cache_control"] = marks[-1]
        self._append("user", _with_mark([result], message))

    def _close_calls(self) -> None:
        """Answer the calls that the conversation has left open, which the API refuses."""
        if waiting := self._ids.close():
            self._warn("A tool call without a result gets one that says so.")
            self._append(
                "user",
                [{"type": "tool_result", "tool_use_id": id, "content": NO_RESULT, "is_error": True} for id in waiting],
            )

    def _trim_end(self) -> None:
        """Cut white space at the end of a beginning of the answer, which the API refuses."""
        last = self.turns[-1]["content"][-1]
        if self.turns[-1]["role"] == "assistant" and last["type"] == "text":
            self.turns[-1]["content"][-1] = {**last, "text": last["text"].rstrip()}


def _answer(message: Message, warn: Callable[[str], None]) -> list[Block]:
    """Return the blocks of an assistant's turn: its thinking, its text, its calls."""
    calls = [
        {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": _input(call.arguments),
            **marked(call.extra),
        }
        for call in message.tool_calls
    ]
    thoughts = thinking_of(message.extra)
    if message.reasoning and not thoughts:
        warn("Reasoning that the upstream has not signed is left out of earlier turns.")
    return [*thoughts, *blocks_of(message.content, warn), *calls]


def _native(message: Message) -> list[Block]:
    """Return the blocks that a message was made of.

    None where it does not say, or has changed since.
    """
    if not message.extra:
        return []
    blocks = [block for block in anthropic_content.blocks_of(message.extra) if not _is_blank(block)]
    if message.role == "assistant":
        calls = [(call_id(str(block.get("id"))), block.get("name")) for block in blocks if block["type"] == "tool_use"]
        if calls != [(call_id(call.id), call.name) for call in message.tool_calls]:
            return []
        own = iter(message.tool_calls)
        blocks = [{**block, "id": next(own).id} if block["type"] == "tool_use" else block for block in blocks]
    return blocks


def _is_blank(block: Block) -> bool:
    """Return whether a block is a text without a word, which the API refuses."""
    return block["type"] == "text" and not str(block.get("text") or "").strip()


def _with_mark(blocks: list[Block], message: Message) -> list[Block]:
    """Return `blocks`, the last one that may have it with the `cache_control` of the message."""
    if mark := marked(message.extra):
        place = max((place for place, block in enumerate(blocks) if block["type"] not in UNMARKED), default=None)
        if place is not None:
            blocks[place] = {**blocks[place], **mark}
    return blocks


def call_id(id: str) -> str:
    """Return an id that the API takes: other providers' have dots and colons."""
    return _ID.sub("_", id)


def _input(arguments: str) -> JSON:
    """Return the arguments of a call as an object, which they have to be."""
    try:
        value = whole(value_of((arguments or "{}").encode()))
    except ValueError:
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": value}
