"""What OpenAI's Responses API refuses, from its public reference, with the words of its errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .http import Refused

KNOWN = """
    background conversation context_management include input instructions max_output_tokens max_tool_calls metadata
    model parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention reasoning
    safety_identifier service_tier store stream stream_options temperature text tool_choice tools top_logprobs top_p
    truncation user
"""
FIELDS = frozenset(KNOWN.split())
MOVED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "messages": "input",
}
INCLUDED = """
    file_search_call.results web_search_call.results web_search_call.action.sources message.input_image.image_url
    computer_call_output.output.image_url code_interpreter_call.outputs reasoning.encrypted_content
    message.output_text.logprobs
"""
INCLUDABLE = frozenset(INCLUDED.split())
TOOLS = {
    "function": frozenset({"type", "name", "parameters", "strict", "description", "defer_loading"}),
    "custom": frozenset({"type", "name", "description", "format", "defer_loading"}),
    "namespace": frozenset({"type", "name", "description", "tools"}),
    "web_search": frozenset(
        {
            *("type", "filters", "search_context_size", "user_location", "external_web_access"),
            "search_content_types",  # of the Codex CLI, which the API takes
        }
    ),
    "web_search_preview": frozenset({"type", "search_context_size", "user_location"}),
    "file_search": frozenset({"type", "vector_store_ids", "filters", "max_num_results", "ranking_options"}),
    "code_interpreter": frozenset({"type", "container"}),
    "image_generation": frozenset({"type", "size", "quality", "partial_images", "output_format", "background"}),
    "mcp": frozenset(
        {"type", "server_label", "server_url", "require_approval", "allowed_tools", "authorization", "headers"}
    ),
    "computer_use_preview": frozenset({"type", "display_width", "display_height", "environment"}),
    "tool_search": frozenset({"type", "description", "execution", "parameters"}),
    "local_shell": frozenset({"type"}),
    "shell": frozenset({"type", "environment"}),
    "apply_patch": frozenset({"type"}),
}
EASY = frozenset({"type", "role", "content", "phase", "id", "status"})
ITEMS = {
    "message": EASY,
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
    "function_call": frozenset({"type", "id", "call_id", "name", "arguments", "status", "namespace"}),
    "function_call_output": frozenset({"type", "id", "call_id", "output", "status"}),
    "custom_tool_call": frozenset({"type", "id", "call_id", "name", "input", "namespace", "status"}),
    "custom_tool_call_output": frozenset({"type", "id", "call_id", "output"}),
    "web_search_call": frozenset({"type", "id", "status", "action"}),
    "local_shell_call": frozenset({"type", "id", "call_id", "action", "status"}),
    "local_shell_call_output": frozenset({"type", "id", "call_id", "output", "status"}),
    "shell_call": frozenset({"type", "id", "call_id", "action", "environment", "status"}),
    "shell_call_output": frozenset({"type", "id", "call_id", "output", "max_output_length", "status"}),
    "code_interpreter_call": frozenset({"type", "id", "code", "container_id", "outputs", "status"}),
    "mcp_call": frozenset(
        {"type", "id", "arguments", "name", "server_label", "output", "error", "status", "approval_request_id"}
    ),
    "mcp_list_tools": frozenset({"type", "id", "server_label", "tools", "error"}),
    "mcp_approval_request": frozenset({"type", "id", "arguments", "name", "server_label"}),
    "mcp_approval_response": frozenset({"type", "id", "approval_request_id", "approve", "reason"}),
    "image_generation_call": frozenset({"type", "id", "result", "status"}),
}
PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
"""What the id of an item begins with (openai/codex#33176, nodetool-ai/nodetool#4252)."""
NAMES = re.compile(r"[a-zA-Z0-9_-]+")
MAX_LENGTH = 64
"""Characters of names and ids (can1357/oh-my-pi#284 and #9131, decolua/9router#393)."""
AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "const", "not")
"""Keywords that the schema of a function must not begin with (goruck/home-generative-agent#545)."""
PARTS = {
    "user": frozenset({"input_text", "input_image", "input_file", "input_audio"}),
    "system": frozenset({"input_text"}),
    "developer": frozenset({"input_text"}),
    "assistant": frozenset({"output_text", "refusal"}),
    "output": frozenset({"input_text", "input_image", "input_file"}),
}
PART_FIELDS = {
    "input_text": frozenset({"type", "text"}),
    "input_image": frozenset({"type", "image_url", "file_id", "detail"}),
    "input_file": frozenset({"type", "file_data", "file_id", "file_url", "filename", "detail"}),
    "input_audio": frozenset({"type", "input_audio"}),
    "output_text": frozenset({"type", "text", "annotations", "logprobs"}),
    "refusal": frozenset({"type", "refusal"}),
}


def check_fields(body: Mapping[str, Any]) -> None:
    """Check everything of a request but its input.

    Raises:
        Refused: the real API does not take it.
    """
    for name in body:
        if name in MOVED:
            raise Refused(
                f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to '{MOVED[name]}'. "
                "Try again with the new parameter."
            )
    _known(body, FIELDS, "")
    limit = body.get("max_output_tokens")
    if limit is not None and limit < 16:
        raise Refused(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
            f"{limit} instead."
        )
    for name in ("prompt_cache_key", "safety_identifier"):
        _check_length(body.get(name) or "", name)
    for each in body.get("include") or ():
        _one_of(each, INCLUDABLE, "include")
    if body.get("background") and body.get("store") is False:
        raise Refused("Background mode requires 'store' to be true.")
    if body.get("previous_response_id") and body.get("store") is False:
        raise Refused(f"Previous response with id '{body['previous_response_id']}' not found.")
    _known(body.get("text") or {}, frozenset({"format", "verbosity"}), "text.")
    _check_format((body.get("text") or {}).get("format"), json.dumps(body.get("input")))
    reasoning = body.get("reasoning") or {}
    _known(reasoning, frozenset({"effort", "summary", "generate_summary", "context", "mode"}), "reasoning.")
    if reasoning.get("summary") is not None:
        _one_of(reasoning["summary"], frozenset({"auto", "concise", "detailed"}), "reasoning.summary")
    if body.get("truncation") is not None:
        _one_of(body["truncation"], frozenset({"auto", "disabled"}), "truncation")
    _check_tools(body.get("tools"), body.get("tool_choice"))


def _check_format(wanted: Any, text: str) -> None:
    if wanted is None:
        return
    _one_of(wanted.get("type"), frozenset({"text", "json_schema", "json_object"}), "text.format.type")
    if wanted["type"] == "json_schema":
        for name in ("name", "schema"):
            _required(wanted, name, "text.format.")
        _known(wanted, frozenset({"type", "name", "schema", "strict", "description"}), "text.format.")
        _check_name(wanted["name"], "text.format.name")
    if wanted["type"] == "json_object" and "json" not in text.lower():
        raise Refused(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'."
        )


def _check_tools(tools: Any, choice: Any) -> None:
    if tools is None:
        if choice not in (None, "auto", "none"):
            raise Refused("Tool choice 'required' must be specified with 'tools' parameter.")
        return
    for place, tool in enumerate(tools):
        here = f"tools[{place}]."
        kind = tool.get("type")
        _one_of(kind, frozenset(TOOLS), f"tools[{place}].type")
        _known(tool, TOOLS[kind], here)
        if kind in ("function", "custom", "namespace"):
            _required(tool, "name", here)
        if kind == "function":
            _check_name(tool["name"], f"{here}name")
            _required(tool, "parameters", here)
            _check_schema(tool["name"], tool["parameters"])
    if isinstance(choice, str):
        _one_of(choice, frozenset({"none", "auto", "required"}), "tool_choice")
    elif isinstance(choice, Mapping):
        _known(choice, frozenset({"type", "mode", "tools", "name", "server_label"}), "tool_choice.")
        named = choice.get("tools", [choice]) if choice.get("type") == "allowed_tools" else [choice]
        for each in named:
            if not any(all(tool.get(key) == value for key, value in each.items()) for tool in tools):
                raise Refused(f"Tool choice '{each.get('name') or each.get('type')}' not found in 'tools' parameter.")


def _check_schema(name: str, schema: Any) -> None:
    if schema is None:
        return
    if schema.get("type") != "object":
        raise Refused(
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', got 'type: "
            f'"{schema.get("type")}"\'.'
        )
    if any(each in schema for each in AT_THE_TOP):
        raise Refused(
            f"Invalid schema for function '{name}': schema must have type 'object' and not have "
            "'oneOf'/'anyOf'/'allOf'/'enum'/'const'/'not' at the top level."
        )


def _check_name(name: Any, where: str) -> None:
    if not NAMES.fullmatch(name):
        raise Refused(
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'."
        )
    _check_length(name, where)


def _check_length(value: str, where: str) -> None:
    if len(value) > MAX_LENGTH:
        raise Refused(
            f"Invalid '{where}': string too long. Expected a string with maximum length {MAX_LENGTH}, but got a string "
            f"with length {len(value)} instead."
        )


def _check_id(item: Mapping[str, Any], kind: str, here: str, ids: set[str]) -> None:
    given = item.get("id")
    if given is None:
        return
    if not NAMES.fullmatch(given):
        raise Refused(
            f"Invalid '{here}id': '{given}'. Expected an ID that contains letters, numbers, underscores, or dashes, "
            "but this value contained additional characters."
        )
    _check_length(given, f"{here}id")
    if not given.startswith(PREFIXES.get(kind, "")):
        raise Refused(f"Invalid '{here}id': '{given}'. Expected an ID that begins with '{PREFIXES[kind]}'.")
    if given in ids:  # vercel/ai#7883
        raise Refused(f"Duplicate item found with id {given}. Remove duplicate items from your input and try again.")
    ids.add(given)


def check_input(items: Sequence[Any], issued: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the input items.

    `issued` has the reasoning items that this upstream has made, by their ids, each with `next`,
    the name of the item that stood behind it.

    Raises:
        Refused: the real API does not take them.
    """
    calls: dict[str, str] = {}
    answered: set[str] = set()
    ids: set[str] = set()
    for place, item in enumerate(items):
        here = f"input[{place}]."
        kind = item.get("type", "message")
        _one_of(kind, frozenset(ITEMS), f"input[{place}].type")
        _known(item, ITEMS[kind], here)
        _check_id(item, kind, here, ids)
        if kind == "message":
            _check_message(item, here)
        elif kind == "reasoning":
            _check_reasoning(item, items[place + 1 :], issued, here)
        elif kind.endswith("_output"):
            call_id = item["call_id"]
            if calls.get(call_id) != kind.removesuffix("_output"):
                words = kind.removesuffix("_output").replace("_", " ")
                raise Refused(f"No tool call found for {words} output with call_id {call_id}.")
            if call_id in answered:  # NousResearch/hermes-agent#111443
                raise Refused(f"Duplicate {kind} for call_id {call_id}.")
            answered.add(call_id)
            if not isinstance(item["output"], str) and kind != "shell_call_output":
                _check_parts(item["output"], "output", here)
        elif "call_id" in item:
            for name in ("call_id", "name") if kind in ("function_call", "custom_tool_call") else ("call_id",):
                _required(item, name, here)
            if not item["call_id"]:
                raise Refused(f"Invalid '{here}call_id': empty string. Expected a string with minimum length 1.")
            _check_length(item["call_id"], f"{here}call_id")
            if kind == "function_call":
                _check_name(item["name"], f"{here}name")
            if item["call_id"] in calls:
                raise Refused(f"Duplicate {kind} for call_id {item['call_id']}.")
            if kind == "function_call" and not isinstance(item.get("arguments"), str):
                raise Refused(f"Missing required parameter: '{here}arguments'.")
            if kind == "custom_tool_call" and not isinstance(item.get("input"), str):
                raise Refused(f"Missing required parameter: '{here}input'.")
            calls[item["call_id"]] = kind
    for call_id, kind in calls.items():
        if call_id not in answered:
            raise Refused(f"No tool output found for {kind.replace('_', ' ')} {call_id}.")


def _check_message(item: Mapping[str, Any], here: str) -> None:
    _required(item, "role", here)
    _one_of(item["role"], frozenset({"user", "assistant", "system", "developer"}), f"{here}role")
    _required(item, "content", here)
    if not isinstance(item["content"], str):
        _check_parts(item["content"], item["role"], here)


def _check_parts(parts: Any, role: str, here: str) -> None:
    if not parts:
        raise Refused(f"Invalid '{here}content': empty array. Expected an array with minimum length 1.")
    for place, part in enumerate(parts):
        where = f"{here}content[{place}]."
        _one_of(part.get("type"), PARTS[role], f"{where}type")
        _known(part, PART_FIELDS[part["type"]], where)
        if part["type"] == "input_image" and not (part.get("image_url") or part.get("file_id")):
            raise Refused(f"Missing required parameter: '{where}image_url'.")


def _check_reasoning(
    item: Mapping[str, Any], behind: Sequence[Any], issued: Mapping[str, Mapping[str, Any]], here: str
) -> None:
    _required(item, "summary", here)
    if not item.get("encrypted_content"):
        raise Refused(
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. Try again "
            "with `store` set to true, or remove this item from your input.",
            404,
        )
    if "id" in item:
        made = issued.get(item["id"])
    else:  # as the Codex CLI sends reasoning where nothing is stored
        sealed = item["encrypted_content"]
        made = next((each for each in issued.values() if each["encrypted_content"] == sealed), None)
    if made is None or made["encrypted_content"] != item["encrypted_content"] or made["summary"] != item["summary"]:
        raise Refused(
            f"The encrypted content for item {item.get('id')} could not be verified. Reason: Encrypted content could not "
            "be decrypted or parsed."
        )
    if not behind or name_of(behind[0]) != made["next"]:
        raise Refused(f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.")


def name_of(item: Mapping[str, Any]) -> str:
    """What a reasoning item before this one is bound to."""
    kind = item.get("type", "message")
    return "message" if kind == "message" else str(item.get("call_id") or item.get("id"))


def _known(fields: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in fields:
        if name not in known:
            raise Refused(f"Unknown parameter: '{where}{name}'.")


def _required(fields: Mapping[str, Any], name: str, where: str) -> None:
    if name not in fields:
        raise Refused(f"Missing required parameter: '{where}{name}'.")


def _one_of(value: Any, known: frozenset[str], where: str) -> None:
    if value not in known:
        supported = ", ".join(f"'{each}'" for each in sorted(known))
        raise Refused(f"Invalid value: '{value}' at '{where}'. Supported values are: {supported}.")
