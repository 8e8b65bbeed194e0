"""What of a client's request the upstream did not get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

CONVERSATION = ("instructions", "system", "input", "messages", "tools")
"""The fields that hold the conversation and the tools, in all dialects."""
HOSTED = ("web_search", "image_generation")
"""Tools that a provider runs itself; Chorus leaves them out with a warning."""
SERVED = ("model", "stream", "store", "include", "reasoning.summary")
"""Fields that Chorus answers to itself."""
RENAMED = {
    "max_output_tokens": "max_tokens",
    "thinking": "reasoning_effort",
    "think": "reasoning_effort",
    "reasoning.effort": "reasoning_effort",
    "text.verbosity": "verbosity",
}
"""Fields that have another name in the chat dialect."""
NESTED = ("reasoning", "text", "options")
"""Fields of Responses and Ollama whose own fields are apart in the chat dialect."""
DEFAULTS = ("stream", False), ("n", 1), ("is_error", False), ("strict", False)
"""Fields that say no more than their absence."""
NO_CONTENT = ("type", "role", "id", "status", "encrypted_content", "signature", "cache_control")
"""Keys whose values name forms or are Chorus's own."""


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


def lost(sent: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """Return the texts, names, ids, arguments and schemas of a client's conversation that the
    upstream's body lacks.

    The client may speak any dialect. The upstream's body is a chat request.
    """
    leaves = set(_leaves(got))
    whole = "\n".join(leaf for leaf in leaves if isinstance(leaf, str))
    schemas = [tool.get("function", {}).get("parameters") for tool in got.get("tools", ())]
    missing = []
    for field in CONVERSATION:
        for leaf in _leaves(_without_hosted(sent.get(field))):
            if leaf not in leaves and not (isinstance(leaf, str) and leaf in whole):
                missing.append(f"{field}: {_short(leaf)}")
    for tool in _without_hosted(sent.get("tools") or []):
        schema = tool.get("parameters") or tool.get("input_schema")
        if schema is not None and schema not in schemas:
            missing.append(f"tools: the schema of {tool.get('name')}")
    return missing


def dropped(sent: dict[str, Any], got: dict[str, Any], warning: str) -> list[str]:
    """Return the fields of a client's request that neither reach the upstream nor are named in the
    answer's warning.
    """
    fields = [name for name in _names(_without_defaults(sent)) if name not in (*CONVERSATION, *SERVED)]
    return [name for name in fields if RENAMED.get(name, name) not in got and name not in warning]


def _names(sent: dict[str, Any]) -> Iterator[str]:
    for name, value in sent.items():
        if name in NESTED and isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value if value[inner] is not None)
        elif value is not None:
            yield name


def _without_defaults(value: dict[str, Any]) -> dict[str, Any]:
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
