"""What is known of providers and families of models."""

from __future__ import annotations

import pytest

from chorus.llm.providers.traits import Settings, nearest_effort, openai_traits

LOCAL = "http://127.0.0.1:8000/v1"
OPENAI = "https://api.openai.com/v1"
REASONING = [
    "gpt-5", "gpt-5-mini-2025-08-07", "gpt-5.2", "o1", "o3-mini", "o4-mini", "openai/gpt-5-mini", "openai/o3", "azure/openai/o1-mini",
    "ft:gpt-5:org", "OpenAI/GPT-5",
]  # fmt: skip
OTHERS = [
    "gpt-4o",
    "openai/gpt-4.1",
    "gpt-oss:20b",
    "openai/gpt-oss-120b",
    "qwen3",
    "olmo-2",
    "o200k",
    "m",
    "gpt-50x",
    "deepseek-r1",
]


@pytest.mark.parametrize("model", REASONING)
def test_reasoning_families_have_another_name_for_the_limit(model: str) -> None:
    traits = openai_traits(model, LOCAL)
    assert traits.max_tokens_field == "max_completion_tokens"
    assert traits.developer
    assert traits.system == "anywhere"


@pytest.mark.parametrize("model", OTHERS)
def test_all_others_have_the_common_one(model: str) -> None:
    traits = openai_traits(model, LOCAL)
    assert traits.max_tokens_field == "max_tokens"
    assert traits.system == "first"
    assert not traits.developer
    assert not traits.omit & {"temperature", "top_p", "reasoning_content"}


@pytest.mark.parametrize("model", ["gpt-5", "o3", "openai/gpt-5-nano"])
def test_reasoning_families_get_no_sampling(model: str) -> None:
    assert openai_traits(model, LOCAL).omit >= {"temperature", "top_p", "presence_penalty", "frequency_penalty"}


@pytest.mark.parametrize("model", ["gpt-5-chat-latest", "gpt-5.1"])
def test_those_that_may_go_without_reasoning_do(model: str) -> None:
    assert "temperature" not in openai_traits(model, LOCAL).omit


@pytest.mark.parametrize(("host", "is_strict"), [(OPENAI, True), ("https://x.openai.azure.com/openai/v1", True),
    ("https://api.mistral.ai/v1", True), ("https://api.deepseek.com", False), ("https://notapi.openai.com.evil.example/v1", False)])  # fmt: skip
def test_fields_of_messages_are_kept_from_those_that_refuse_them(host: str, is_strict: bool) -> None:
    traits = openai_traits("m", host)
    assert ("reasoning_content" in traits.omit) is is_strict
    assert ("cache_control" in traits.omit) is is_strict


def test_openais_own_api_takes_system_messages_anywhere() -> None:
    assert openai_traits("gpt-4o", OPENAI).system == "anywhere"
    assert openai_traits("mistral-large", "https://api.mistral.ai/v1").system == "first"


def test_what_is_configured_outranks_what_is_known() -> None:
    settings = Settings("first", "max_tokens", frozenset({"seed"}))
    traits = openai_traits("gpt-5", OPENAI, settings)
    assert (traits.system, traits.max_tokens_field) == ("first", "max_tokens")
    assert traits.omit >= {"seed", "temperature"}


@pytest.mark.parametrize(
    ("effort", "model", "sent"),
    [("xhigh", "o3", "high"), ("none", "o3", "low"), ("minimal", "gpt-5", "minimal"), ("none", "gpt-5", "minimal"),
     ("max", "gpt-5", "high"), ("minimal", "gpt-5.1", "none"), ("xhigh", "gpt-5.1", "high"), ("max", "gpt-5.2", "xhigh"),
     ("low", "gpt-5-pro", "high")],
)  # fmt: skip
def test_efforts_go_to_the_nearest_that_the_family_knows(effort: str, model: str, sent: str) -> None:
    known = openai_traits(model, LOCAL).efforts
    assert known
    assert nearest_effort(effort, known) == sent
