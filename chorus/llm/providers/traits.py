"""What a provider and a family of models take, by address and name; settable for each model.
Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chorus.anthropic_content import CONTENT, STOP
from chorus.llm.address import UNSET, Settings
from chorus.types import LimitField, SystemPlace

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Values of `reasoning_effort` that any provider knows, by how much they ask for."""

_REASONING: Final = re.compile(r"(?:gpt-(?:[5-9]|\d\d)|o\d|codex)(?![a-z0-9])")
_GPT_5_MINOR: Final = re.compile(r"gpt-5\.(\d+)")
_NEVER_REASONS: Final = re.compile(r"gpt-(?:[34](?:\.\d+|o)?(?![a-z0-9])|5[\d.]*-chat)|chatgpt-")
_REASONING_REFUSES: Final = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty", "stop"})
"""Fields that OpenAI's reasoning models up to gpt-5 answer with 400.

Later ones take them where they do not think. Chorus enforces stop words itself
(`filters/stop_words.py`).
"""
_FOREIGN: Final = frozenset(
    {
        *("reasoning_content", "reasoning_details", "reasoning", "thinking", "signature", "cache_control"),
        *("extra_content", "phase"),
    }
)
"""Fields of messages that come from other providers.

Those below answer an unknown field with 400.
"""
ANTHROPICS: Final = frozenset({CONTENT, STOP})
"""Fields of messages that Chorus writes for Anthropic's Messages API alone."""
_STRICT_HOSTS: Final = ("api.openai.com", "openai.azure.com", "api.mistral.ai")


@dataclass(frozen=True, slots=True)
class Traits:
    """How requests are written for one model of one provider.

    `omit` names fields that are not sent: of the request, its messages, their parts and tool calls.
    `efforts` are the values of `reasoning_effort` in the order of `EFFORTS`; None: not known, all
    are sent. `thinks_by_levels` is about Ollama's `think`. `takes_prompts` tells whether there is a
    completion endpoint; `is_ollama` that there is one in any case.
    """

    system: SystemPlace = "first"
    developer: bool = False
    max_tokens_field: LimitField = "max_tokens"
    omit: frozenset[str] = frozenset()
    efforts: tuple[str, ...] | None = None
    refused_efforts: tuple[tuple[str, str], ...] = ()
    """Pairs of a refused effort and the one that is sent in its place."""
    thinks_by_levels: bool = True
    takes_prompts: bool = True
    is_ollama: bool = False
    adaptive_thinking: bool = False
    """Whether Anthropic's `thinking` is asked for as `adaptive`, not by a budget of tokens."""


def family(model: str) -> str:
    """Return the upstream's name of a model without what gateways write around it:
    "openai/gpt-5-mini" is "gpt-5-mini".
    """
    return model.lower().removeprefix("ft:").rpartition("/")[2]


def openai_traits(model: str, api_base: str, settings: Settings = UNSET) -> Traits:
    """Return the traits of `model`, as the upstream names it, at an OpenAI-compatible
    `api_base`.
    """
    host = urlsplit(api_base).hostname or ""
    name = family(model)
    is_openai = _is_at(host, ("api.openai.com", "openai.azure.com"))
    reasons = _REASONING.match(name) is not None
    omit = set(settings.omit) | ANTHROPICS
    if not _is_at(host, ("openrouter.ai",)):
        omit.add("annotations")  # only OpenRouter takes its own citations back
    if _is_at(host, _STRICT_HOSTS):
        omit |= _FOREIGN
    if reasons and not (_NEVER_REASONS.match(name) or _GPT_5_MINOR.match(name)):
        omit |= _REASONING_REFUSES
    return Traits(
        system=settings.system or ("anywhere" if is_openai or reasons else "first"),
        developer=is_openai or reasons,
        max_tokens_field=settings.max_tokens_field or ("max_completion_tokens" if reasons else "max_tokens"),
        omit=frozenset(omit),
        efforts=_efforts(name),
    )


def responses_traits(model: str, settings: Settings = UNSET) -> Traits:
    """Return the traits of a model behind OpenAI's Responses API, which takes system messages
    anywhere.
    """
    name = family(model)
    omit = set(settings.omit)
    if _REASONING.match(name) and not (_NEVER_REASONS.match(name) or _GPT_5_MINOR.match(name)):
        omit |= {"temperature", "top_p"}
    return Traits(system=settings.system or "anywhere", developer=True, omit=frozenset(omit), efforts=_efforts(name))


def azure_traits(model: str, settings: Settings = UNSET) -> Traits:
    """Return the traits of a deployment of Azure OpenAI, whatever host stands before it."""
    return openai_traits(model, "https://openai.azure.com", settings)


def ollama_traits(settings: Settings = UNSET) -> Traits:
    """Return the traits of a model behind Ollama's own wire."""
    return Traits(system=settings.system or "first", omit=settings.omit | ANTHROPICS, is_ollama=True)


def nearest_effort(effort: str, known: tuple[str, ...]) -> str:
    """Return the one of `known`, which is not empty, that asks for about as much as `effort`.

    Of two the lower one.
    """
    rank = EFFORTS.index(effort)
    return min(known, key=lambda word: (abs(EFFORTS.index(word) - rank), EFFORTS.index(word)))


def _efforts(name: str) -> tuple[str, ...] | None:
    """Return the efforts that a family knows: OpenAI's model pages, November 2026."""
    if _NEVER_REASONS.match(name):
        return ()
    if minor := _GPT_5_MINOR.match(name):
        return ("none", "low", "medium", "high") if minor[1] == "1" and "max" not in name else ("none", *EFFORTS[2:6])
    if re.match(r"gpt-5(?![a-z0-9])", name):
        return ("high",) if "-pro" in name else ("minimal", "low", "medium", "high")
    if re.match(r"o\d(?![a-z0-9])", name):
        return ("low", "medium", "high")
    return None


def _is_at(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain or host.endswith("." + domain) for domain in domains)
