"""What is known of each generation of models."""

from __future__ import annotations

import pytest

from chorus.llm.providers.anthropic.families import Family, family_of


@pytest.mark.parametrize(
    ("model", "max_tokens", "thinking", "off", "samples", "structured"),
    [
        ("claude-3-haiku-20240307", 4_096, "none", "omitted", True, False),
        ("claude-3-5-sonnet-20241022", 8_192, "none", "omitted", True, False),
        ("claude-3-7-sonnet-latest", 64_000, "budget", "omitted", True, False),
        ("claude-opus-4-20250514", 32_000, "budget", "omitted", True, False),
        ("claude-4-opus-20250514", 32_000, "budget", "omitted", True, False),
        ("claude-opus-4-1-20250805", 32_000, "budget", "omitted", True, True),
        ("claude-haiku-4-5-20251001", 64_000, "budget", "omitted", True, True),
        ("anthropic/claude-sonnet-4.5", 64_000, "budget", "omitted", True, True),
        ("claude-opus-4-6", 128_000, "adaptive", "omitted", True, True),
        ("claude-opus-4-7", 128_000, "adaptive", "omitted", False, True),
        ("anthropic.claude-opus-5", 128_000, "adaptive", "disabled", False, True),
        ("claude-opus-5-5", 128_000, "adaptive", "never", False, True),
        ("claude-sonnet-5-5", 128_000, "adaptive", "between_tools", False, True),
        ("claude-haiku-5-5", 128_000, "adaptive", "disabled", False, True),
        ("claude-fable-5-1", 128_000, "adaptive", "never", False, True),
        ("claude-mythos-preview", 128_000, "adaptive", "never", False, True),
    ],
)
def test_a_model_has_the_rules_of_its_generation(
    model: str, max_tokens: int, thinking: str, off: str, samples: bool, structured: bool
) -> None:
    family = family_of(model)
    found = (family.max_tokens, family.thinking, family.off, family.samples, family.structured)
    assert found == (max_tokens, thinking, off, samples, structured)


def test_a_model_that_is_not_known_yet_counts_as_the_newest() -> None:
    assert family_of("claude-opus-9").thinking == "adaptive"
    assert family_of("claude-symphony-7").thinking == "adaptive"


def test_a_model_that_is_no_claude_is_asked_for_little() -> None:
    assert family_of("deepseek-chat") == Family(8_192, "budget", is_known=False)
