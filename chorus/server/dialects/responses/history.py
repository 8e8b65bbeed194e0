"""Items of tools and reasoning in a Responses conversation, as calls, results and reasoning (A3).

Each item with a call becomes the call of the function that stands for its tool; each output a
`tool` message. Items of hosted tools keep their texts as a call with a result; those without a text
are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.server.dialects.opaque_reasoning import unseal
from chorus.server.dialects.responses.parts import PARTS, content
from chorus.server.dialects.responses.tools import Kind, ToolTable, arguments_text
from chorus.server.dialects.responses.turns import Turns
from chorus.server.dialects.warnings import Warnings
from chorus.types import RESPONSES_ITEM, Extra, Image, Message, Part, ToolCall
from chorus.wirejson import JSON

CALLS_FIELD: Final = "tool_calls"
"""In the fields of a sealed value: the fields of calls by their ids."""

_LEFT_OUT: Final = frozenset(
    {
        "compaction",
        "compaction_summary",
        "image_generation_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_list_tools",
        "web_search_call",
    }
)
"""Items that hold nothing that another model can read."""


class History:
    """Reads items into `turns`."""

    def __init__(self, turns: Turns, table: ToolTable, warnings: Warnings, *, keeps_items: bool = False) -> None:
        """`keeps_items`: see `inputs.messages`."""
        self._keeps_items = keeps_items
        self._turns = turns
        self._table = table
        self._warnings = warnings
        self.call_extras: dict[str, Extra] = {}
        """The fields of calls by their ids, from sealed values anywhere in the conversation."""
        self._call_ids: dict[str, str] = {}
        """The call ids of items by their own ids, by which some outputs name them."""

    def read(self, item: Mapping[str, Any], place: str) -> None:
        """Take one item that is no message. One of an unknown kind is left out with a warning.

        Raises:
            InvalidRequest: an item has not the shape of its kind; `param` names it.
        """
        kind = item["type"]
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            reader(self, item, place)
        elif kind in _LEFT_OUT if isinstance(kind, str) else False:
            self._leave_out(item, f"input: items of type {kind} are left out.")
        else:
            self._leave_out(item, "input: an item of an unknown type is left out.")

    def phase_of(self, message: Mapping[str, Any]) -> Extra:
        """Return whether a message was the answer or a comment on the work.

        Some models behind the Responses API want it back.
        """
        phase = message.get("phase") if self._keeps_items else None
        return {"phase": phase} if isinstance(phase, str) and phase else {}

    def _leave_out(self, item: Mapping[str, Any], sentence: str) -> None:
        """Leave out an item, for all models but those behind the Responses API."""
        self._warnings.add(sentence, of_chat=True)
        if self._keeps_items:
            self._turns.item(item)

    def _kept(self, item: Mapping[str, Any], *, is_plain: bool = False) -> Extra:
        """Return `item` as it came, beside what it becomes for chat.

        Nothing where that says all of it.
        """
        return {RESPONSES_ITEM: dict(item)} if self._keeps_items and not is_plain else {}

    def _reasoning(self, item: Mapping[str, Any], place: str) -> None:
        sealed = item.get("encrypted_content")
        known = unseal(sealed) if isinstance(sealed, str) else None
        if known is not None:
            reasoning, extra = known
            calls = extra.get(CALLS_FIELD)
            if isinstance(calls, Mapping):
                self.call_extras.update(calls)
            fields = {key: value for key, value in extra.items() if key != CALLS_FIELD}
            self._turns.reason(reasoning, fields, joint="")
            return
        if sealed:
            self._leave_out(item, "input: encrypted_content of a reasoning item is unknown here and left out.")
        text = _texts(item.get("content")) or _texts(item.get("summary"))
        if text:
            self._turns.reason(text, {}, joint="\n\n")

    def _function_call(self, item: Mapping[str, Any], place: str) -> None:
        name = self._function(item, "function", place)
        self._call(item, name, arguments_text(item.get("arguments")), place)

    def _custom_call(self, item: Mapping[str, Any], place: str) -> None:
        name, given = self._function(item, "custom", place), item.get("input")
        text = given if isinstance(given, str) else arguments_text(given)
        self._call(item, name, arguments_text({"input": text}), place)

    def _function(self, item: Mapping[str, Any], kind: Kind, place: str) -> str:
        namespace = item.get("namespace")
        name = string(item, "name", place)
        return self._table.function_of(kind, name, namespace if isinstance(namespace, str) else None)

    def _local_shell_call(self, item: Mapping[str, Any], place: str) -> None:
        self._own_call("local_shell", item, _without(item.get("action"), "type"), place)

    def _shell_call(self, item: Mapping[str, Any], place: str) -> None:
        self._own_call("shell", item, _without(item.get("action"), "type"), place)

    def _apply_patch_call(self, item: Mapping[str, Any], place: str) -> None:
        self._own_call("apply_patch", item, item.get("operation"), place)

    def _tool_search_call(self, item: Mapping[str, Any], place: str) -> None:
        if _call_id(item) is None:
            self._leave_out(item, "input: a search for tools that OpenAI made is left out.")
        else:
            self._own_call("tool_search", item, item.get("arguments"), place)

    def _own_call(self, kind: Kind, item: Mapping[str, Any], arguments: JSON, place: str) -> None:
        self._call(item, self._table.function_of(kind, kind), arguments_text(arguments), place)

    def _call(self, item: Mapping[str, Any], name: str, arguments: str, place: str) -> None:
        call_id = _required_id(item, place)
        if isinstance(item.get("id"), str):
            self._call_ids[item["id"]] = call_id
        is_plain = item["type"] in ("function_call", "custom_tool_call") and not item.get("namespace")
        self._turns.call(ToolCall(call_id, name, arguments, self._kept(item, is_plain=is_plain)))

    def _output(self, item: Mapping[str, Any], place: str) -> None:
        call_id = _required_id(item, place)
        output = result(item.get("output"), f"{place}.output", self._warnings)
        is_plain = item["type"] in ("function_call_output", "custom_tool_call_output")
        kept = self._kept(item, is_plain=is_plain)
        self._turns.add(Message("tool", output, tool_call_id=self._call_ids.get(call_id, call_id), extra=kept))

    def _tool_search_output(self, item: Mapping[str, Any], place: str) -> None:
        if _call_id(item) is not None:
            self._output({**item, "output": _names(item.get("tools"))}, place)

    def _computer_call(self, item: Mapping[str, Any], place: str) -> None:
        self._call(item, "computer", arguments_text(item.get("action", item.get("actions"))), place)

    def _mcp_call(self, item: Mapping[str, Any], place: str) -> None:
        output = item.get("output") or item.get("error") or ""
        name = f"{item['server_label']}__{item.get('name')}" if item.get("server_label") else str(item.get("name"))
        self._hosted(item, name, item.get("arguments"), result(output, place, self._warnings))

    def _code_interpreter_call(self, item: Mapping[str, Any], place: str) -> None:
        outputs = item.get("outputs")
        logs = [output["logs"] for output in _mappings(outputs) if isinstance(output.get("logs"), str)]
        self._hosted(item, "code_interpreter", {"code": item.get("code") or ""}, "\n".join(logs))

    def _file_search_call(self, item: Mapping[str, Any], place: str) -> None:
        results = [
            f"{result.get('filename') or 'file'}:\n{result['text']}"
            for result in _mappings(item.get("results"))
            if isinstance(result.get("text"), str)
        ]
        if results:
            self._hosted(item, "file_search", {"queries": item.get("queries") or []}, "\n\n".join(results))
        else:
            self._leave_out(item, "input: items of type file_search_call without results are left out.")

    def _hosted(self, item: Mapping[str, Any], name: str, arguments: JSON, output: str | tuple[Part, ...]) -> None:
        """Take a call that a server has run already, with its result in the same item."""
        call_id = _call_id(item) or f"call_{len(self._call_ids)}"
        self._call_ids[call_id] = call_id
        self._turns.call(ToolCall(call_id, name, arguments_text(arguments), self._kept(item)))
        self._turns.add(Message("tool", output, tool_call_id=call_id))

    def _additional_tools(self, item: Mapping[str, Any], place: str) -> None:
        """Nothing: `offered_tools` has read them."""

    def _agent_message(self, item: Mapping[str, Any], place: str) -> None:
        text = _texts(item.get("content"))
        if text:
            self._turns.add(Message("user", text))


_READERS: Final[Mapping[str, Callable[[History, Mapping[str, Any], str], None]]] = {
    "reasoning": History._reasoning,
    "function_call": History._function_call,
    "function_call_output": History._output,
    "custom_tool_call": History._custom_call,
    "custom_tool_call_output": History._output,
    "local_shell_call": History._local_shell_call,
    "local_shell_call_output": History._output,
    "shell_call": History._shell_call,
    "shell_call_output": History._output,
    "apply_patch_call": History._apply_patch_call,
    "apply_patch_call_output": History._output,
    "tool_search_call": History._tool_search_call,
    "tool_search_output": History._tool_search_output,
    "computer_call": History._computer_call,
    "computer_call_output": History._output,
    "mcp_call": History._mcp_call,
    "code_interpreter_call": History._code_interpreter_call,
    "file_search_call": History._file_search_call,
    "additional_tools": History._additional_tools,
    "agent_message": History._agent_message,
}


def offered_tools(items: JSON) -> list[JSON]:
    """Return the tools that items bring in: `additional_tools`, and results of a tool search."""
    tools: list[JSON] = []
    for item in _mappings(items):
        if item.get("type") in ("additional_tools", "tool_search_output") and isinstance(item.get("tools"), list):
            tools += item["tools"]
    return tools


def result(output: JSON, place: str, warnings: Warnings) -> str | tuple[Part, ...]:
    """Return the output of a call as the content of its `tool` message.

    What is neither text nor parts is written as JSON.

    Raises:
        InvalidRequest: a part has not the shape of its type; `param` names it.
    """
    if output is None or isinstance(output, str):
        return output or ""
    if isinstance(output, Mapping):
        if isinstance(output.get("content"), str) and output.get("type") is None:
            return str(output["content"])
        if output.get("type") == "computer_screenshot" and isinstance(output.get("image_url"), str):
            return (Image(output["image_url"]),)
    listed = output if isinstance(output, list) else [output]
    if listed and all(isinstance(entry, Mapping) and _is_part(entry.get("type")) for entry in listed):
        return content(listed, place, warnings)
    if listed and all(isinstance(entry, Mapping) and isinstance(entry.get("stdout"), str) for entry in listed):
        return "\n".join(_shell_text(entry) for entry in listed)
    return wirejson.encode(output).decode()


def _shell_text(output: Mapping[str, Any]) -> str:
    """Return what one command of a `shell_call` wrote, and its exit code where it is not 0."""
    texts = [output["stdout"], output.get("stderr")]
    outcome = output.get("outcome")
    if isinstance(outcome, Mapping):
        if outcome.get("type") == "timeout":
            texts.append("(timeout)")
        elif outcome.get("exit_code") not in (None, 0):
            texts.append(f"(exit code {outcome['exit_code']})")
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def string(item: Mapping[str, Any], key: str, place: str) -> str:
    """Return the text in a field that has to have one. Raises InvalidRequest naming it."""
    value = item.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"Invalid value for '{place}.{key}': expected a string.", param=f"{place}.{key}")
    return value


def _required_id(item: Mapping[str, Any], place: str) -> str:
    return _call_id(item) or string(item, "call_id", place)


def _call_id(item: Mapping[str, Any]) -> str | None:
    """Return the id of a call; the item's own id where it has no other."""
    return next((item[key] for key in ("call_id", "id") if isinstance(item.get(key), str) and item[key]), None)


def _is_part(kind: JSON) -> bool:
    return isinstance(kind, str) and kind in PARTS


def _texts(value: JSON) -> str:
    """Return the texts of the parts in `value`."""
    if isinstance(value, str):
        return value
    return "\n\n".join(part["text"] for part in _mappings(value) if isinstance(part.get("text"), str) and part["text"])


def _names(tools: JSON) -> str:
    """Return what a search for tools found, for the model to read."""
    names: list[str] = []
    for tool in _mappings(tools):
        if tool.get("type") == "namespace":
            names += [str(inner.get("name")) for inner in _mappings(tool.get("tools"))]
        else:
            names.append(str(tool.get("name")))
    return f"Tools found: {', '.join(names)}" if names else "No tools found."


def _without(value: JSON, key: str) -> JSON:
    return {name: kept for name, kept in value.items() if name != key} if isinstance(value, Mapping) else value


def _mappings(value: JSON) -> Iterable[Mapping[str, Any]]:
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else ()
