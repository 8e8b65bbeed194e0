"""What servers say of their models, in the shapes that they really send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.providers.model_info import (
    NOTHING,
    ModelInfo,
    entry_of,
    named_entry,
    read_entry,
    read_ollama,
    read_props,
    settled,
)

LISTED: dict[str, tuple[dict[str, Any], ModelInfo]] = {
    "vLLM": (
        {"id": "m", "object": "model", "owned_by": "vllm", "root": "m", "parent": None, "max_model_len": 32768},
        ModelInfo(context_window=32768),
    ),
    "OpenRouter": (
        {
            "id": "m",
            "context_length": 400_000,
            "architecture": {"modality": "text+image->text", "input_modalities": ["text", "image"]},
            "top_provider": {"context_length": 200_000, "max_completion_tokens": 128_000},
            "supported_parameters": ["include_reasoning", "max_tokens", "tool_choice", "tools"],
        },
        ModelInfo(frozenset({"tools", "vision", "thinking"}), frozenset(), 400_000),
    ),
    "OpenRouter, without tools": (
        {"id": "m", "architecture": {"input_modalities": ["text"]}, "supported_parameters": ["max_tokens"]},
        ModelInfo(frozenset(), frozenset({"tools", "vision", "thinking"})),
    ),
    "Mistral": (
        {
            "id": "m",
            "capabilities": {
                "completion_chat": True,
                "completion_fim": False,
                "function_calling": True,
                "vision": False,
            },
            "max_context_length": 131_072,
            "aliases": ["mistral-large-latest"],
        },
        ModelInfo(frozenset({"tools"}), frozenset({"vision"}), 131_072),
    ),
    "LM Studio": (
        {
            "id": "m",
            "type": "vlm",
            "capabilities": ["tool_use"],
            "max_context_length": 131_072,
            "loaded_context_length": 4096,
        },
        ModelInfo(frozenset({"tools", "vision"}), frozenset(), 4096),
    ),
    "LM Studio, embeddings": (
        {"id": "m", "type": "embeddings", "max_context_length": 2048},
        ModelInfo(frozenset({"embedding"}), frozenset({"completion", "tools"}), 2048),
    ),
    "llama.cpp": (
        {"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131_072, "n_params": 8_030_261_312}},
        ModelInfo(context_window=131_072),
    ),
    "Groq": ({"id": "m", "active": True, "context_window": 131_072}, ModelInfo(context_window=131_072)),
    "Fireworks": (
        {"id": "m", "context_length": 8192, "supports_image_input": False, "supports_tools": True},
        ModelInfo(frozenset({"tools"}), frozenset({"vision"}), 8192),
    ),
    "GitHub": (
        {
            "id": "m",
            "capabilities": {
                "limits": {"max_context_window_tokens": 128_000},
                "supports": {"tool_calls": True, "vision": True},
            },
        },
        ModelInfo(frozenset({"tools", "vision"}), frozenset(), 128_000),
    ),
    "Hugging Face": (
        {"id": "m", "providers": [{"supports_tools": False}, {"supports_tools": True, "context_length": 8192}]},
        ModelInfo(frozenset({"tools"})),
    ),
    "nothing": ({"id": "m", "object": "model", "owned_by": "openai"}, NOTHING),
    "nonsense": ({"id": "m", "context_length": "many", "max_model_len": True, "capabilities": 7, "type": []}, NOTHING),
}


@pytest.mark.parametrize("server", LISTED)
def test_what_entries_say(server: str) -> None:
    entry, expected = LISTED[server]
    assert read_entry(entry) == expected


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        ("gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("openai/gpt-5:nitro", "openai/gpt-5"),
        ("Qwen/Qwen3-8B", "qwen/qwen3-8b"),
        ("qwen3", "qwen3:latest"),
    ],
)
def test_names_as_providers_write_them(asked: str, listed: str) -> None:
    listing = {"data": [{"id": "another"}, {"id": listed}]}
    entry = entry_of(listing, asked)
    assert entry is not None
    assert entry["id"] == listed


def test_a_server_of_one_model_answers_under_any_name() -> None:
    assert entry_of([{"id": "/models/x.gguf"}], "glm") == {"id": "/models/x.gguf"}
    assert named_entry([{"id": "/models/x.gguf"}], "glm") is None
    assert entry_of({"data": [{"id": "a"}, {"id": "b"}]}, "glm") is None


def test_an_alias_is_a_name() -> None:
    listing = {"data": [{"id": "mistral-large-2411", "aliases": ["mistral-large-latest"]}, {"id": "b"}]}
    assert (entry_of(listing, "mistral-large-latest") or {})["id"] == "mistral-large-2411"


def test_what_ollama_shows_is_complete() -> None:
    shown = {"capabilities": ["completion", "tools"], "model_info": {"qwen3.context_length": 40960}}
    assert read_ollama(shown) == ModelInfo(
        frozenset({"completion", "tools"}), frozenset({"vision", "thinking", "embedding"}), 40960
    )
    assert read_ollama({"model_info": {"llama.context_length": 8192}}) == ModelInfo(context_window=8192)


def test_what_llama_cpp_says_of_itself() -> None:
    props = {
        "default_generation_settings": {"n_ctx": 4096},
        "modalities": {"vision": True, "audio": False},
        "chat_template_caps": {"supports_tools": False},
    }
    assert read_props(props) == ModelInfo(frozenset({"vision"}), frozenset({"tools"}), 4096)


def test_replicas_share_what_both_can() -> None:
    one = ModelInfo(frozenset({"tools", "vision"}), frozenset(), 8192)
    other = ModelInfo(frozenset({"tools"}), frozenset({"vision"}), 4096)
    assert one.shared(other) == ModelInfo(frozenset({"tools"}), frozenset({"vision"}), 4096)


def test_the_configuration_wins() -> None:
    found = ModelInfo(frozenset({"vision"}), frozenset({"tools"}), 8192)
    assert settled(found, ("tools", "json_schema"), 4096, assumes_tools=True) == ModelInfo(
        frozenset({"tools"}), frozenset(), 4096
    )
    assert settled(found, (), None, assumes_tools=True).has == frozenset()
    assert settled(found, None, None, assumes_tools=True) == found
    assert settled(NOTHING, None, None, assumes_tools=True).has == {"tools"}
    assert settled(NOTHING, None, None, assumes_tools=False) == NOTHING


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "data", "capabilities", "meta", "type", "aliases", "providers", "model_info", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@given(json_values)
def test_any_json_is_read(value: Any) -> None:
    entry = entry_of(value, "m")
    if entry is not None:
        read_entry(entry)
    assert isinstance(read_ollama(value), ModelInfo)
    assert isinstance(read_props(value), ModelInfo)
