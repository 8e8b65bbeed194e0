"""What Anthropic's Messages API refuses, with its words (its API reference and error pages,
November 2026).

`check` raises `Refused` for the first thing that is wrong. Models of three generations behave as
their own: `claude-haiku-4-5` (a budget of thinking, temperature or top_p), `claude-opus-4-6`
(adaptive, no beginnings of answers) and newer ones (no sampling, no budget).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema

from .http import Refused

FIELDS = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences"),
        *("metadata", "tools", "tool_choice", "thinking", "output_config", "service_tier", "container"),
        *("cache_control", "inference_geo", "speed", "diagnostics", "user_profile_id", "context_management"),
        "mcp_servers",
    }
)
BLOCKS: dict[str, frozenset[str]] = {
    "text": frozenset({"type", "text", "cache_control", "citations"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "document": frozenset({"type", "source", "title", "context", "citations", "cache_control"}),
    "search_result": frozenset({"type", "source", "title", "content", "citations", "cache_control"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": frozenset({"type", "id", "name", "input", "caller", "cache_control"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"}),
    "server_tool_use": frozenset({"type", "id", "name", "input", "caller", "cache_control"}),
    "web_search_tool_result": frozenset({"type", "tool_use_id", "content", "caller", "cache_control"}),
    "container_upload": frozenset({"type", "file_id", "cache_control"}),
}
OF_THE_ASSISTANT = frozenset(
    {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result"}
)
TOOL_FIELDS = frozenset(
    {
        *("name", "description", "input_schema", "type", "cache_control", "strict", "defer_loading"),
        *("allowed_callers", "input_examples", "eager_input_streaming"),
    }
)
IDS = re.compile(r"[a-zA-Z0-9_-]+")
NAMES = re.compile(r"[a-zA-Z0-9_-]{1,128}")
PROPERTIES = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
BEGINNINGS = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
"""What the base64 of an image begins with, by its type."""
MEDIA = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
LIMITS = {"claude-haiku-4-5": 64_000, "claude-opus-4-6": 128_000}
UNSUPPORTED = frozenset({"minimum", "maximum", "minLength", "maxLength", "multipleOf", "maxItems"})


def check(body: Mapping[str, Any], *, counting: bool = False, betas: str = "") -> None:
    """Check a body; `betas` is the header with the features that the client asks for.

    Raises:
        Refused: the real API answers 400.
    """
    for name in body:
        if name not in FIELDS:
            raise Refused(f"{name}: Extra inputs are not permitted")
    required = ("model", "messages") if counting else ("model", "max_tokens", "messages")
    for name in required:
        if name not in body:
            raise Refused(f"{name}: Field required")
    if "@" in (body.get("metadata", {}).get("user_id") or ""):  # BerriAI/litellm#10106
        raise Refused("metadata.user_id: user_id appears to contain an email address.")
    if not counting:
        _check_length(body)
    _check_sampling(body)
    _check_thinking(body, betas)
    _check_system(body)
    _check_tools(body)
    _check_messages(body)
    _check_output(body)
    _check_marks(body)


def generation(model: str) -> str:
    """Which rules hold for a model: "budget", "both" or "adaptive"."""
    if model.startswith(("claude-haiku-4-5", "claude-opus-4-5", "claude-3")):
        return "budget"
    return "both" if model.startswith("claude-opus-4-6") else "adaptive"


def _check_length(body: Mapping[str, Any]) -> None:
    length, most = body["max_tokens"], LIMITS.get(body["model"], 128_000)
    if not isinstance(length, int) or length < 1:
        raise Refused("max_tokens: Input should be greater than or equal to 1")
    if length > most:
        said = "which is the maximum allowed number of output tokens for"
        raise Refused(f"max_tokens: {length} > {most}, {said} {body['model']}")
    for place, word in enumerate(body.get("stop_sequences", ())):
        if not word.strip():
            raise Refused(f"stop_sequences.{place}: each stop sequence must contain non-whitespace")


def _check_sampling(body: Mapping[str, Any]) -> None:
    rules, thinks = generation(body["model"]), body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    for name in ("temperature", "top_p", "top_k"):
        if name in body and rules == "adaptive":
            raise Refused(f"{name}: `{name}` is deprecated for this model.")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise Refused("temperature: range: 0..1")
    if "temperature" in body and "top_p" in body:
        raise Refused("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if thinks and (body.get("temperature", 1) != 1 or "top_k" in body or body.get("top_p", 1) < 0.95):
        raise Refused("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.")


def _check_thinking(body: Mapping[str, Any], betas: str) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind, rules = thinking.get("type"), generation(body["model"])
    if kind not in ("enabled", "adaptive", "disabled", "between_tools"):
        raise Refused("thinking: Input tag found using 'type' does not match any of the expected tags")
    if kind == "enabled" and rules == "adaptive":
        raise Refused(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    if kind == "adaptive" and rules == "budget":
        raise Refused("adaptive thinking is not supported on this model")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024:
            raise Refused("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        # a budget for all turns of tools
        is_shared = "interleaved-thinking-" in betas and body.get("tools")
        if budget >= body.get("max_tokens", budget + 1) and not is_shared:
            raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind in ("enabled", "adaptive") and body.get("tool_choice", {}).get("type") in ("any", "tool"):
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")


def _check_system(body: Mapping[str, Any]) -> None:
    system = body.get("system", "")
    for place, block in enumerate(system if isinstance(system, list) else ()):
        if block.get("type") != "text":
            raise Refused(f"system.{place}.type: Input should be 'text'")
        _check_text(block, f"system.{place}")


def _check_tools(body: Mapping[str, Any]) -> None:
    names = [tool.get("name") for tool in body.get("tools", ())]
    for place, tool in enumerate(body.get("tools", ())):
        if tool.get("type") not in (None, "custom"):
            continue  # one that runs at Anthropic
        if extra := sorted(tool.keys() - TOOL_FIELDS):
            raise Refused(f"tools.{place}.custom.{extra[0]}: Extra inputs are not permitted")
        if not isinstance(tool.get("input_schema"), dict) or tool["input_schema"].get("type") != "object":
            raise Refused(f"tools.{place}.custom.input_schema.type: Field required")
        if not NAMES.fullmatch(tool.get("name", "")):
            raise Refused(f"tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        _check_input_schema(tool["input_schema"], f"tools.{place}.custom.input_schema")
    if len(set(names)) != len(names):
        raise Refused("tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not body.get("tools"):
        raise Refused("tool_choice: tool_choice may only be specified while providing tools.")
    if choice.get("type") not in ("auto", "any", "tool", "none"):
        raise Refused("tool_choice: Input tag found using 'type' does not match any of the expected tags")
    if choice["type"] == "tool" and choice.get("name") not in names:
        raise Refused(f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")


def _check_input_schema(schema: Mapping[str, Any], here: str) -> None:
    """Check the top of a tool's schema: anomalyco/opencode#38616, anthropics/claude-code#5973."""
    if schema.keys() & {"oneOf", "allOf", "anyOf"}:
        raise Refused(f"{here}: input_schema does not support oneOf, allOf, or anyOf at the top level")
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except jsonschema.SchemaError:  # anthropics/claude-code#86665, home-assistant/core#181282
        raise Refused(f"{here}: JSON schema is invalid. It must match JSON Schema draft 2020-12") from None
    for name in schema.get("properties") or ():
        if not PROPERTIES.fullmatch(name):
            raise Refused(f"{here}.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{{1,64}}$'")


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body["messages"]
    if not messages:
        raise Refused("messages: at least one message is required")
    if messages[0].get("role") != "user":
        raise Refused('messages: first message must use the "user" role')
    open_calls: list[str] = []
    seen: set[str] = set()
    has_calls = False
    for place, message in enumerate(messages):
        here = f"messages.{place}"
        if message.get("role") not in ("user", "assistant"):
            raise Refused(f"{here}.role: Input should be 'user' or 'assistant'")
        if place and messages[place - 1]["role"] == message["role"]:
            raise Refused('messages: roles must alternate between "user" and "assistant"')
        blocks = _blocks(message, here)
        results = [block for block in blocks if block["type"] == "tool_result"]
        answered = [block["tool_use_id"] for block in results]
        if missing := [id for id in open_calls if id not in answered]:
            raise Refused(
                f"{here}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        if len(set(answered)) < len(answered):  # vectorize-io/hindsight#4250
            raise Refused(
                f"{here}.content: each tool_use must have a single result. Found multiple `tool_result` blocks with "
                f"id: {answered[-1]}"
            )
        if strange := [id for id in answered if id not in open_calls]:
            raise Refused(
                f"{here}.content: unexpected `tool_use_id` found in `tool_result` blocks: {strange[0]}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if results and blocks[: len(results)] != results:
            raise Refused(f"{here}: `tool_result` blocks must come first in the content")
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if seen & set(open_calls) or len(set(open_calls)) < len(open_calls):  # trycua/cua#524
            raise Refused(f"{here}.content: `tool_use` ids must be unique")
        seen |= set(open_calls)
        has_calls = has_calls or bool(open_calls)
        _check_order(body, blocks, here, is_last=place >= len(messages) - 2)
    if has_calls and not body.get("tools"):
        raise Refused("Requests which include `tool_use` or `tool_result` blocks must define tools")
    last = messages[-1]
    if last["role"] == "assistant":
        if generation(body["model"]) != "budget":
            raise Refused("This model does not support assistant message prefill.")
        first, final = _blocks(last, "")[0], _blocks(last, "")[-1]
        if body.get("thinking", {}).get("type") == "enabled" and first["type"] not in ("thinking", "redacted_thinking"):
            raise Refused(
                f"messages.{len(messages) - 1}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
                f"`{first['type']}`. When `thinking` is enabled, a final `assistant` message must start with a "
                "thinking block."
            )
        if final["type"] == "text" and final["text"] != final["text"].rstrip():
            raise Refused("messages: final assistant content cannot end with trailing whitespace")


def _blocks(message: Mapping[str, Any], here: str) -> Sequence[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        if not content.strip():
            raise Refused(f"{here}: text content must be non-empty")
        return [{"type": "text", "text": content}]
    if not content:
        raise Refused(f"{here}.content: at least one block is required")
    for place, block in enumerate(content):
        _check_block(block, message["role"], f"{here}.content.{place}")
    return list(content)


def _check_block(block: Mapping[str, Any], role: str, here: str) -> None:
    kind = block.get("type")
    fields = BLOCKS.get(str(kind))
    if fields is None:
        raise Refused(f"{here}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    if extra := sorted(block.keys() - fields):
        raise Refused(f"{here}.{kind}.{extra[0]}: Extra inputs are not permitted")
    if role == "assistant" and kind not in OF_THE_ASSISTANT:
        raise Refused(f"{here}.type: `{kind}` blocks are not permitted in `assistant` messages")
    if role == "user" and kind in ("tool_use", "thinking", "redacted_thinking", "server_tool_use"):
        raise Refused(f"{here}.type: `{kind}` blocks are not permitted in `user` messages")
    if kind == "text":
        _check_text(block, here)
    elif kind == "image":
        _check_source(block["source"], f"{here}.image.source", MEDIA)
    elif kind == "document":
        _check_source(block["source"], f"{here}.document.source", {"application/pdf", "text/plain"})
    elif kind in ("tool_use", "tool_result"):
        if not IDS.fullmatch(str(block.get("id", block.get("tool_use_id")))):
            raise Refused(f"{here}.{kind}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        if kind == "tool_use" and not NAMES.fullmatch(str(block.get("name"))):
            raise Refused(f"{here}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if kind == "tool_use" and not isinstance(block.get("input"), dict):
            raise Refused(f"{here}.tool_use.input: Input should be a valid dictionary")
        content = block.get("content")
        for place, inner in enumerate(content if isinstance(content, list) else ()):
            if inner.get("type") not in ("text", "image", "document", "search_result"):
                raise Refused(f"{here}.tool_result.content.{place}: Input tag does not match the expected tags")
            _check_block(inner, "tool", f"{here}.tool_result.content.{place}")


def _check_text(block: Mapping[str, Any], here: str) -> None:
    if not isinstance(block.get("text"), str) or not block["text"]:
        raise Refused(f"{here}: text content blocks must be non-empty")
    if not block["text"].strip():
        raise Refused(f"{here}: text content blocks must contain non-whitespace text")


def _check_source(source: Mapping[str, Any], here: str, media: Any) -> None:
    kind = source.get("type")
    if kind == "base64" and source.get("media_type") not in media:
        raise Refused(f"{here}.base64.media_type: Input should be {' or '.join(sorted(media))}")
    data = str(source.get("data"))
    shown = next((each for beginning, each in BEGINNINGS.items() if data.startswith(beginning)), None)
    # anthropics/claude-code#15746
    if kind == "base64" and shown not in (None, source["media_type"]):
        raise Refused(f"{here}.base64.data: Image does not match the provided media type {source['media_type']}")
    if kind == "url" and not str(source.get("url")).startswith(("http://", "https://")):
        raise Refused(f"{here}.url: Only HTTP(S) URLs are supported")
    if kind not in ("base64", "url", "text", "content", "file"):
        raise Refused(f"{here}: Input tag '{kind}' does not match any of the expected tags")


def _check_order(body: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]], here: str, *, is_last: bool) -> None:
    """With a budget, the turn that called the tools begins with its thinking."""
    needs = body.get("thinking", {}).get("type") == "enabled" and is_last
    calls = any(block["type"] == "tool_use" for block in blocks)
    if needs and calls and blocks[0]["type"] not in ("thinking", "redacted_thinking"):
        raise Refused(
            f"{here}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{blocks[0]['type']}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block."
        )


def _check_output(body: Mapping[str, Any]) -> None:
    output = body.get("output_config", {})
    if extra := sorted(output.keys() - {"effort", "format"}):
        raise Refused(f"output_config.{extra[0]}: Extra inputs are not permitted")
    takes_effort = generation(body["model"]) != "budget" or body["model"].startswith("claude-opus-4-5")
    if "effort" in output and not takes_effort:
        raise Refused("This model does not support the effort parameter.")
    if output.get("effort", "low") not in ("low", "medium", "high", "xhigh", "max"):
        raise Refused("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    if "format" in output:
        if output["format"].get("type") != "json_schema":
            raise Refused("output_config.format.type: Input should be 'json_schema'")
        _check_schema(output["format"]["schema"])
    for tool in body.get("tools", ()):
        if tool.get("strict"):
            _check_schema(tool["input_schema"])


def _check_schema(schema: Any) -> None:
    if isinstance(schema, list):
        for entry in schema:
            _check_schema(entry)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Refused("For 'object' type, 'additionalProperties' must be explicitly set to false")
    if found := sorted(UNSUPPORTED & schema.keys()):
        raise Refused(f"For '{schema.get('type')}' type, property '{found[0]}' is not supported")
    for name, value in schema.items():
        is_table = name in ("properties", "$defs") and isinstance(value, dict)
        _check_schema(list(value.values()) if is_table else value)


def _check_marks(body: Mapping[str, Any]) -> None:
    marks = [block for block in prefix_blocks(body) if "cache_control" in block]
    if len(marks) > 4:
        raise Refused(f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.")
    ttls = [block["cache_control"].get("ttl", "5m") for block in marks]
    if sorted(ttls) != ttls:  # headroomlabs-ai/headroom#2939
        raise Refused(
            "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
            "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
        )
    for block in marks:
        if block.get("type") in ("thinking", "redacted_thinking"):
            raise Refused("cache_control cannot be set on thinking blocks")


def prefix_blocks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every block of a prompt, in its order: tools, system, messages."""
    system = body.get("system") or []
    blocks = [*body.get("tools", ()), *([{"type": "text", "text": system}] if isinstance(system, str) else system)]
    for message in body["messages"]:
        content = message["content"]
        blocks += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return blocks
