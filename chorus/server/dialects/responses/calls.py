"""Calls of tools as output items: each kind of tool has its own item and events (A3, W10)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from chorus import wirejson
from chorus.server.dialects.freeform_input import FreeformInput
from chorus.server.dialects.responses.items import call_item, item_id
from chorus.server.dialects.responses.tools import Kind, Tool
from chorus.server.http.reading import is_object
from chorus.wirejson import JSON

ItemEvents = Iterator[tuple[str, dict[str, Any]]]
"""Names and fields of the events of one output item."""

ID_PREFIXES: Final[Mapping[Kind, str]] = {
    "function": "fc",
    "custom": "ctc",
    "local_shell": "lsh",
    "shell": "sh",
    "apply_patch": "apc",
    "tool_search": "tsc",
}


def call_output(tool: Tool, call_id: str, response_id: str, index: int) -> CallOutput:
    """Return the output item of a call of `tool`."""
    if tool.kind == "function":
        return FunctionOutput(tool, call_id, response_id, index)
    if tool.kind == "custom":
        return CustomOutput(tool, call_id, response_id, index)
    return ActionOutput(tool, call_id, response_id, index)


class CallOutput(ABC):
    """A call that grows. The base of every kind of call."""

    def __init__(self, tool: Tool, call_id: str, response_id: str, index: int) -> None:
        self.index = index
        self._id = item_id(ID_PREFIXES[tool.kind], response_id, index)
        self.call_id = call_id
        self._tool = tool
        self._arguments: list[str] = []
        self._place = {"item_id": self._id, "output_index": index}

    @property
    def is_whole(self) -> bool:
        """Whether nothing can follow: the arguments are an object already."""
        return is_object("".join(self._arguments))

    def begin(self) -> ItemEvents:
        """Return the events before the arguments."""
        yield "response.output_item.added", {"output_index": self.index, "item": self.item("in_progress")}

    def grow(self, arguments: str) -> ItemEvents:
        """Return the events of a piece of the arguments."""
        self._arguments.append(arguments)
        return iter(())

    def end(self, status: str) -> ItemEvents:
        """Return the events behind the arguments."""
        yield "response.output_item.done", {"output_index": self.index, "item": self.item(status)}

    @abstractmethod
    def item(self, status: str) -> dict[str, Any]:
        """Return the item as far as it has come."""


class FunctionOutput(CallOutput):
    """A `function_call`."""

    def grow(self, arguments: str) -> ItemEvents:
        """See `CallOutput.grow`."""
        self._arguments.append(arguments)
        yield "response.function_call_arguments.delta", {**self._place, "delta": arguments}

    def end(self, status: str) -> ItemEvents:
        """See `CallOutput.end`."""
        done = {**self._place, "name": self._tool.name, "arguments": "".join(self._arguments)}
        yield "response.function_call_arguments.done", done
        yield from super().end(status)

    def item(self, status: str) -> dict[str, Any]:
        """See `CallOutput.item`."""
        item = call_item(self._id, self.call_id, self._tool.name, "".join(self._arguments), status)
        return item if self._tool.namespace is None else {**item, "namespace": self._tool.namespace}


class CustomOutput(CallOutput):
    """A `custom_tool_call`, whose input is the text in the function's one argument."""

    def __init__(self, tool: Tool, call_id: str, response_id: str, index: int) -> None:
        super().__init__(tool, call_id, response_id, index)
        self._input = FreeformInput()

    def grow(self, arguments: str) -> ItemEvents:
        """See `CallOutput.grow`."""
        self._arguments.append(arguments)
        if text := self._input.feed(arguments):
            yield "response.custom_tool_call_input.delta", {**self._place, "delta": text}

    def end(self, status: str) -> ItemEvents:
        """See `CallOutput.end`."""
        rest, whole = self._input.end()
        if rest:
            yield "response.custom_tool_call_input.delta", {**self._place, "delta": rest}
        yield "response.custom_tool_call_input.done", {**self._place, "input": whole}
        yield from super().end(status)

    def item(self, status: str) -> dict[str, Any]:
        """See `CallOutput.item`."""
        head = {"type": "custom_tool_call", "id": self._id, "call_id": self.call_id, "name": self._tool.name}
        if self._tool.namespace is not None:
            head["namespace"] = self._tool.namespace
        return {**head, "input": self._input.end()[1], "status": status}


class ActionOutput(CallOutput):
    """A call whose arguments are an object in the item: `local_shell_call`, `shell_call`,
    `apply_patch_call` and `tool_search_call`. OpenAI streams none of these, so the item comes
    whole.
    """

    def item(self, status: str) -> dict[str, Any]:
        """See `CallOutput.item`."""
        kind = self._tool.kind
        head = {"type": f"{kind}_call", "id": self._id, "call_id": self.call_id, "status": status}
        return {**head, **_FIELDS[kind](_arguments("".join(self._arguments)))}


def _arguments(text: str) -> Mapping[str, JSON]:
    try:
        value = wirejson.decode(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _local_shell(arguments: Mapping[str, JSON]) -> dict[str, Any]:
    command = arguments.get("command")
    action = {
        "type": "exec",
        "command": ["bash", "-lc", command] if isinstance(command, str) else _strings(command),
        "env": {key: str(value) for key, value in _mapping(arguments.get("env")).items()},
    }
    for key, shape in (("timeout_ms", int), ("user", str), ("working_directory", str)):
        if isinstance(arguments.get(key), shape):
            action[key] = arguments[key]
    return {"action": action}


def _shell(arguments: Mapping[str, JSON]) -> dict[str, Any]:
    commands = arguments.get("commands", arguments.get("command"))
    limits = ("timeout_ms", "max_output_length")
    return {
        "action": {
            "commands": [commands] if isinstance(commands, str) else _strings(commands),
            **{key: arguments[key] if isinstance(arguments.get(key), int) else None for key in limits},
        }
    }


def _apply_patch(arguments: Mapping[str, JSON]) -> dict[str, Any]:
    return {"operation": {key: arguments[key] for key in ("type", "path", "diff") if arguments.get(key) is not None}}


def _tool_search(arguments: Mapping[str, JSON]) -> dict[str, Any]:
    return {"execution": "client", "arguments": dict(arguments)}


def _strings(value: JSON) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _mapping(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, Mapping) else {}


_FIELDS: Final[Mapping[Kind, Callable[[Mapping[str, JSON]], dict[str, Any]]]] = {
    "local_shell": _local_shell,
    "shell": _shell,
    "apply_patch": _apply_patch,
    "tool_search": _tool_search,
}
