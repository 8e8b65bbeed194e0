"""Every documented request field of each dialect arrives somewhere, or is warned about: none is
dropped in silence (issue 11, kind 16).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from chorus.server.dialects import DIALECTS
from chorus.server.dialects.base import Dialect, ParsedRequest
from chorus.types import ChatRequest, Tools

USER: Final = {"role": "user", "content": "How?"}
FUNCTION: Final = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CHOICE: Final = {"type": "function", "function": {"name": "f"}}
SCHEMA: Final = {"type": "object", "properties": {}}

Where = Callable[[ParsedRequest, ChatRequest], Any]
WARNED: Final = "warned about"
PASSED: Final = "passed on"


def at(path: str) -> Where:
    """The attribute of the request at `path`."""

    def find(asked: ParsedRequest, request: ChatRequest) -> Any:
        value: Any = request
        for name in path.split("."):
            value = value[name] if isinstance(value, Mapping) else getattr(value, name)
        return value

    return find


def same(name: str) -> Where:
    return at(name)


def first_message(name: str) -> Where:
    return lambda asked, request: getattr(request.messages[0], name)


SAMPLED: Final[dict[str, tuple[Any, Any, Any]]] = {
    "frequency_penalty": (0.5, at("sampling.frequency_penalty"), 0.5),
    "max_tokens": (9, at("sampling.max_tokens"), 9),
    "presence_penalty": (0.5, at("sampling.presence_penalty"), 0.5),
    "seed": (3, at("sampling.seed"), 3),
    "stop": (["x"], at("sampling.stop"), ("x",)),
    "stream": (True, lambda asked, _: asked.stream, True),
    "temperature": (0.5, at("sampling.temperature"), 0.5),
    "top_p": (0.5, at("sampling.top_p"), 0.5),
    "n": (2, lambda asked, _: len(asked.requests), 2),
    "stream_options": ({"include_usage": True}, lambda asked, _: asked.options.include_usage, True),
}
TABLE: Final[dict[str, dict[str, tuple[Any, Any, Any]]]] = {
    "/v1/chat/completions": {
        **SAMPLED,
        "model": ("glm", at("model"), "glm"),
        "messages": ([USER], first_message("content"), "How?"),
        "max_completion_tokens": (9, at("sampling.max_tokens"), 9),
        "tools": ([FUNCTION], at("tools"), (FUNCTION,)),
        "functions": ([{"name": "f"}], lambda _, request: request.tools[0]["function"]["name"], "f"),
        "logprobs": (True, at("logprobs"), True),
        "top_logprobs": (3, at("top_logprobs"), 3),
        "parallel_tool_calls": (False, at("parallel_tool_calls"), False),
        "response_format": ({"type": "json_object"}, at("response_format"), {"type": "json_object"}),
        "reasoning_effort": ("low", at("reasoning_effort"), "low"),
        **{
            name: (value, PASSED, value)
            for name, value in {
                "audio": {"voice": "v", "format": "mp3"},
                "logit_bias": {"1": 2},
                "metadata": {"a": "b"},
                "modalities": ["text", "audio"],
                "prediction": {"type": "content", "content": "x"},
                "prompt_cache_key": "k",
                "prompt_cache_retention": "24h",
                "safety_identifier": "s",
                "service_tier": "flex",
                "store": True,
                "user": "u",
                "verbosity": "low",
                "web_search_options": {},
                "top_k": 4,
                "chat_template_kwargs": {"enable_thinking": False},
            }.items()
        },
    },
    "/v1/completions": {
        **SAMPLED,
        "model": ("glm", at("model"), "glm"),
        "prompt": ("How?", first_message("content"), "How?"),
        "suffix": ("!", at("suffix"), "!"),
        "echo": (True, lambda asked, _: asked.options.echo, ("How?",)),
        "logprobs": (2, at("top_logprobs"), 2),
        "best_of": (2, PASSED, 2),
        "logit_bias": ({"1": 2}, PASSED, {"1": 2}),
        "user": ("u", PASSED, "u"),
    },
    "/v1/messages": {
        "model": ("glm", at("model"), "glm"),
        "messages": ([USER], first_message("content"), "How?"),
        "max_tokens": (9, at("sampling.max_tokens"), 9),
        "system": ("Be.", first_message("content"), "Be."),
        "stream": (True, lambda asked, _: asked.stream, True),
        "temperature": (0.5, at("sampling.temperature"), 0.5),
        "top_p": (0.5, at("sampling.top_p"), 0.5),
        "top_k": (4, at("ollama_options.top_k"), 4),
        "stop_sequences": (["x"], at("sampling.stop"), ("x",)),
        "tools": ([{"name": "f", "input_schema": SCHEMA}], lambda _, r: r.tools[0]["function"]["parameters"], SCHEMA),
        "thinking": ({"type": "enabled", "budget_tokens": 10_000}, at("reasoning_effort"), "medium"),
        "output_config": ({"effort": "high"}, at("reasoning_effort"), "high"),
        "output_format": (
            {"type": "json_schema", "schema": SCHEMA},
            at("response_format.json_schema.schema"),
            SCHEMA,
        ),
        "metadata": ({"user_id": "u"}, at("extra.user"), "u"),
        "service_tier": ("invented", WARNED, "service_tier"),
        **{
            name: (value, WARNED, name)
            for name, value in {
                "betas": ["b"],
                "cache_control": {"type": "ephemeral"},
                "container": "c",
                "context_management": {"edits": []},
                "inference_geo": "us",
                "mcp_servers": [{"type": "url"}],
                "speed": "fast",
            }.items()
        },
        "chat_template_kwargs": ({"a": 1}, PASSED, {"a": 1}),
    },
    "/api/chat": {
        "model": ("glm", at("model"), "glm"),
        "messages": ([USER], first_message("content"), "How?"),
        "stream": (False, lambda asked, _: asked.stream, False),
        "tools": ([FUNCTION], at("tools"), (FUNCTION,)),
        "format": (SCHEMA, at("response_format.json_schema.schema"), SCHEMA),
        "options": ({"num_ctx": 5, "invented": 1}, at("ollama_options"), {"num_ctx": 5, "invented": 1}),
        "think": ("low", at("reasoning_effort"), "low"),
        "keep_alive": ("5m", at("keep_alive"), "5m"),
        **{name: (True, WARNED, name) for name in ("logprobs", "top_logprobs", "truncate", "shift")},
        "invented": (1, PASSED, 1),
    },
    "/api/generate": {
        "model": ("glm", at("model"), "glm"),
        "prompt": ("How?", first_message("content"), "How?"),
        "suffix": ("!", at("suffix"), "!"),
        "system": ("Be.", first_message("content"), "Be."),
        "images": (["iVBORw"], lambda _, request: request.messages[0].content[1].url[:15], "data:image/png;"),
        "raw": (True, at("prompt"), "How?"),
        "stream": (False, lambda asked, _: asked.stream, False),
        "format": ("json", at("response_format.type"), "json_object"),
        "options": ({"top_k": 5}, at("ollama_options.top_k"), 5),
        "think": (True, at("reasoning_effort"), True),
        "keep_alive": (0, at("keep_alive"), 0),
        "context": ([1, 2, 3], WARNED, "context"),
        **{name: (True, WARNED, name) for name in ("logprobs", "top_logprobs", "truncate", "shift")},
        "invented": (1, PASSED, 1),
    },
}
"""For each dialect: a field, a value, where it arrives, and as what."""
BY_PATH: Final[dict[str, Dialect]] = {dialect.path: dialect for dialect in DIALECTS}
GOOD: Final[dict[str, dict[str, Any]]] = {
    "/v1/completions": {"prompt": "How?"},
    "/api/generate": {"prompt": "How?"},
}


@pytest.mark.parametrize(
    ("path", "field"), [(path, field) for path, fields in TABLE.items() for field in fields], ids=lambda each: str(each)
)
def test_every_field_arrives_or_is_warned_about(path: str, field: str) -> None:
    value, where, expected = TABLE[path][field]
    asked = BY_PATH[path].parse({"model": "glm", **GOOD.get(path, {"messages": [USER]}), field: value})
    request = asked.requests[0]
    if where is WARNED:
        assert any(expected in sentence for sentence in asked.warnings)
        assert field not in request.extra
    else:
        found = request.extra[field] if where is PASSED else where(asked, request)
        assert (tuple(found) if isinstance(found, Tools) else found) == expected
        assert asked.warnings == ()


NOT_OF_MODELS = {"include_workflow", "memory", "tool_choice", "function_call", "template"}
"""Read for ourselves, or tested elsewhere."""


@pytest.mark.parametrize("path", TABLE)
def test_no_field_that_a_dialect_reads_is_missing_in_the_table(path: str) -> None:
    known = set(BY_PATH[path].body.__struct_fields__) - NOT_OF_MODELS
    assert known <= TABLE[path].keys()


@pytest.mark.parametrize(
    ("path", "choice", "expected"),
    [
        ("/v1/chat/completions", {"tools": [FUNCTION], "tool_choice": "required"}, "required"),
        ("/v1/chat/completions", {"tools": [FUNCTION], "tool_choice": "any"}, "required"),
        ("/v1/chat/completions", {"tools": [FUNCTION], "tool_choice": CHOICE}, CHOICE),
        ("/v1/chat/completions", {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}}, CHOICE),
        ("/v1/chat/completions", {"functions": [{"name": "f"}], "function_call": {"name": "f"}}, CHOICE),
        ("/v1/chat/completions", {"functions": [{"name": "f"}], "function_call": "auto"}, "auto"),
        ("/v1/messages", {"tools": [{"name": "f"}], "tool_choice": {"type": "any"}}, "required"),
        ("/v1/messages", {"tools": [{"name": "f"}], "tool_choice": {"type": "tool", "name": "f"}}, CHOICE),
    ],
)
def test_a_choice_of_tools_arrives(path: str, choice: dict[str, Any], expected: Any) -> None:
    asked = BY_PATH[path].parse({"model": "glm", "messages": [USER], **choice})
    assert asked.requests[0].tool_choice == expected
    assert asked.warnings == ()
