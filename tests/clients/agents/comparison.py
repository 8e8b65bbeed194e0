"""What of a client's request the upstream did not get."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .recording import Sent

CONVERSATION = ("instructions", "system", "input", "messages", "tools")
"""The fields that hold the conversation and the tools, in all dialects."""
HOSTED = ("web_search", "image_generation")
"""Tools that a provider runs itself; Chorus leaves them out with a warning."""
SERVED = ("model", "stream", "stream_options", "store", "include", "reasoning.summary")
"""Fields that Chorus answers to itself."""
RENAMED: dict[str, dict[str, str]] = {
    "chat": {
        "max_output_tokens": "max_tokens",
        "thinking": "reasoning_effort",
        "think": "reasoning_effort",
        "reasoning.effort": "reasoning_effort",
        "text.verbosity": "verbosity",
    },
    "anthropic": {
        "max_output_tokens": "max_tokens",
        "max_completion_tokens": "max_tokens",
        "think": "thinking",
        "reasoning.effort": "thinking",
        "reasoning_effort": "thinking",
        "stop": "stop_sequences",
        "user": "metadata",
        "response_format": "output_config",
    },
    "responses": {
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
        "think": "reasoning",
        "thinking": "reasoning",
        "reasoning_effort": "reasoning",
        "reasoning.effort": "reasoning",
        "text.verbosity": "text",
        "response_format": "text",
    },
}
"""Fields that have another name at an upstream, by its kind."""
ENFORCED = {"responses": ("stop",), "anthropic": ("thinking",)}
"""Fields that an upstream of this kind has none of, so that Chorus sees to them itself, or that are
configured.
"""
SAME = {"chat": "/chat/completions", "anthropic": "/messages", "responses": "/responses"}
"""The path of the dialect that is an upstream's own, by its kind."""
NESTED = ("reasoning", "text", "options")
"""Fields of Responses and Ollama whose own fields are apart in the chat dialect."""
DEFAULTS = ("stream", False), ("n", 1), ("is_error", False), ("strict", False), ("parallel_tool_calls", True)
"""Fields that say no more than their absence."""
NO_CONTENT = ("type", "role", "id", "status", "encrypted_content", "signature", "cache_control")
"""Keys whose values name forms or are Chorus's own."""


def losses(
    sent: Sent, got: Mapping[str, Any], kind: str, unsent: Sequence[str] = (), warnings: str | None = None
) -> list[str]:
    """Return what of a client's request an upstream of this kind did not get.

    `warnings` are those about the request to the model that the client named; None for a worker of
    a workflow, which gets the conversation only. `unsent` are texts that may be missing.
    """
    found = lost(sent.json, got, unsent)
    if warnings is not None:
        left_out = dropped(sent.json, got, warnings, RENAMED[kind])
        found += [name for name in left_out if name not in ENFORCED.get(kind, ())]
        if sent.path.endswith(SAME[kind]):
            fields = _comparable(sent.json, kind)
            found += [each for each in differences(fields, got) if each[1:].partition(":")[0] not in warnings]
    return found


def differences(sent: Any, got: Any, path: str = "") -> list[str]:
    """Return the paths under which `got` lacks or changes a value of `sent`.

    What `got` has beside them is no difference.

    The empty content of a turn that only calls tools is null in what Chorus sends, as OpenAI writes
    it.
    """
    if isinstance(sent, dict) and isinstance(got, dict):
        named = _without_defaults(sent)
        return [found for key in named for found in differences(named[key], got.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(got, list) and len(sent) == len(got):
        pairs = enumerate(zip(sent, got, strict=True))
        return [found for index, (one, other) in pairs for found in differences(one, other, f"{path}[{index}]")]
    is_same = sent == got or (sent == "" and got is None and path.endswith(".content"))
    return [] if is_same else [f"{path}: {_short(sent)} became {_short(got)}"]


def lost(sent: Mapping[str, Any], got: Mapping[str, Any], unsent: Sequence[str] = ()) -> list[str]:
    """Return the texts, names, ids, arguments and schemas of a client's conversation that the
    upstream's body lacks. Both may be of any dialect. `unsent` are texts that may be missing.
    """
    leaves = {*_leaves(got), *unsent}
    whole = "\n".join(leaf for leaf in leaves if isinstance(leaf, str))
    schemas = [_schema(tool) for tool in _flat(got.get("tools") or [])]
    missing = []
    for field in CONVERSATION:
        for leaf in _leaves(_without_hosted(sent.get(field))):
            if leaf not in leaves and not (isinstance(leaf, str) and leaf in whole):
                missing.append(f"{field}: {_short(leaf)}")
    for tool in _without_hosted(sent.get("tools") or []):
        schema = _schema(tool)
        if schema is not None and schema not in schemas:
            missing.append(f"tools: the schema of {tool.get('name')}")
    return missing


def _schema(tool: Mapping[str, Any]) -> Any:
    """Return the schema of a function's arguments, which has a type in every dialect but chat."""
    function = tool.get("function") or tool
    schema = function.get("parameters") or function.get("input_schema")
    return schema and {"type": "object", **schema}


def dropped(
    sent: Mapping[str, Any], got: Mapping[str, Any], warning: str, renamed: Mapping[str, str] = RENAMED["chat"]
) -> list[str]:
    """Return the fields of a client's request that neither reach the upstream nor are named in the
    answer's warning.
    """
    fields = [name for name in _names(_without_defaults(sent)) if name not in (*CONVERSATION, *SERVED)]
    missing = [name for name in fields if renamed.get(name, name) not in got]
    return [name for name in missing if name.rpartition(".")[2] not in warning]


def _comparable(sent: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the fields that an upstream of the client's own dialect gets as they are: all in chat,
    all but the conversation elsewhere, where its turns and items are arranged.
    """
    arranged = () if kind == "chat" else ("input", "instructions", "messages", "system")
    others = (*SERVED, *ENFORCED.get(kind, ()), *arranged)
    return {name: value for name, value in sent.items() if name not in others}


def _names(sent: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sent.items():
        if name in NESTED and isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value if value[inner] is not None)
        elif value is not None:
            yield name


def _without_defaults(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if (name, inner) not in DEFAULTS}


def _without_hosted(value: Any) -> Any:
    """Return a list without hosted tools and with the functions of a namespace in its place.

    Anything else as it is.
    """
    return list(_flat(value)) if isinstance(value, list) else value


def _flat(entries: list[Any]) -> Iterator[Any]:
    for entry in entries:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if kind == "namespace":
            yield from entry["tools"]
        elif kind not in HOSTED:
            yield entry


def _leaves(value: Any) -> Iterator[Any]:
    """Yield every string and number below `value`; of JSON in a string, those inside it."""
    if isinstance(value, dict):
        for key, inner in _without_defaults(value).items():
            if key not in NO_CONTENT or not isinstance(inner, str):
                yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        inner = _parsed(value)
        yield from [value.strip()] if inner is None else _leaves(inner)
    elif value is not None:
        yield value


def _parsed(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"
