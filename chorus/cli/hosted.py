"""Hosted providers: the variables that their SDKs read, their addresses and usual models.

The order is that in which `chorus init` trusts a model to judge others, the best first. Addresses
and names as of November 2026. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

DEPLOYMENTS: Final = "/openai/deployments?api-version=2023-03-15-preview"
"""Azure's list of what is deployed. It is of an old preview; the lists of later versions say what
could be."""
_NO_CHAT: Final = re.compile(
    r"embed|rerank|whisper|transcribe|(?:^|[-/])tts|speech|audio|realtime|image|dall-e|moderation|guard|ocr|sora|veo|imagen"
    r"|instruct$|davinci|babbage|search|asr|(?:^|[-/])bge|cosyvoice|wan\d|flux|computer-use|aqa|lyria|robotics|live",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"\d+")
_LONGEST_VERSION: Final = 4
"""Digits of a number that is a version; a longer one is a date."""


@dataclass(frozen=True, slots=True)
class HostedProvider:
    """One provider. `variables` hold its key, the first that is set; `name` is what its model is
    called."""

    name: str
    variables: tuple[str, ...]
    bases: tuple[str, ...]
    """Its addresses; of several, each takes keys of its own."""
    usual: str
    """The model that is written where its list cannot be had."""
    preferred: tuple[str, ...] = ()
    """Patterns of models that are offered first; of those that fit one, the latest version."""
    provider: str = "openai"
    """The `provider` of the configuration."""
    base_variable: str = ""
    """Holds the address; else the name of the key's variable with BASE_URL in place of API_KEY."""

    def key_variable(self, environ: Mapping[str, str]) -> str | None:
        """Return the variable that holds its key."""
        return next((name for name in self.variables if environ.get(name, "").strip()), None)

    def addresses(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Return where it may be: the address that the environment names, else its own."""
        stems = [name.removesuffix("_API_KEY") + "_BASE_URL" for name in self.variables]
        for name in (self.base_variable, *stems):
            if name and (base := environ.get(name, "").strip()):
                base = base.rstrip("/")
                return (base.removesuffix("/v1") if self.provider == "anthropic" else base,)
        return self.bases

    def list_path(self) -> str:
        """Return where its list of models is, below the address."""
        if self.provider == "azure":
            return DEPLOYMENTS
        return "/v1/models?limit=1000" if self.provider == "anthropic" else "/models"


HOSTED: Final = (
    HostedProvider(
        "claude",
        ("ANTHROPIC_API_KEY",),
        ("https://api.anthropic.com",),
        "claude-sonnet-4-5",
        (r"claude-sonnet-[\d-]+", r"claude-[\d-]+-sonnet.*"),
        provider="anthropic",
    ),
    HostedProvider(
        "gpt",
        ("OPENAI_API_KEY",),
        ("https://api.openai.com/v1",),
        "gpt-5-mini",
        (r"gpt-[\d.]+-mini", r"gpt-[\d.]+", r"gpt-4o-mini"),
    ),
    HostedProvider(
        "azure",
        ("AZURE_OPENAI_API_KEY",),
        (),
        "",
        (r".*gpt-[\d.]+.*",),
        provider="azure",
        base_variable="AZURE_OPENAI_ENDPOINT",
    ),
    HostedProvider(
        "gemini",
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        ("https://generativelanguage.googleapis.com/v1beta/openai",),
        "gemini-2.5-flash",
        (r"gemini-[\d.]+-flash", r"gemini-[\d.]+-pro"),
        base_variable="GOOGLE_GEMINI_BASE_URL",
    ),
    HostedProvider(
        "deepseek", ("DEEPSEEK_API_KEY",), ("https://api.deepseek.com/v1",), "deepseek-chat", ("deepseek-chat",)
    ),
    HostedProvider(
        "kimi",
        ("MOONSHOT_API_KEY",),
        ("https://api.moonshot.cn/v1", "https://api.moonshot.ai/v1"),
        "kimi-k2-turbo-preview",
        (r"kimi-k[\d.]+(?:-turbo)?(?:-preview|-\d{4}-preview)?", r"kimi-latest"),
    ),
    HostedProvider(
        "glm",
        ("ZHIPUAI_API_KEY", "ZAI_API_KEY"),
        ("https://open.bigmodel.cn/api/paas/v4", "https://api.z.ai/api/paas/v4"),
        "glm-4.6",
        (r"glm-[\d.]+",),
    ),
    HostedProvider(
        "qwen",
        ("DASHSCOPE_API_KEY",),
        (
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        ),
        "qwen-plus",
        ("qwen-plus", r"qwen[\d.]+-max"),
    ),
    HostedProvider(
        "grok", ("XAI_API_KEY",), ("https://api.x.ai/v1",), "grok-4", (r"grok-[\d.]+", r"grok-[\d-]+fast.*")
    ),
    HostedProvider(
        "mistral",
        ("MISTRAL_API_KEY",),
        ("https://api.mistral.ai/v1",),
        "mistral-medium-latest",
        ("mistral-medium-latest", "mistral-large-latest", "mistral-small-latest"),
    ),
    HostedProvider(
        "openrouter",
        ("OPENROUTER_API_KEY",),
        ("https://openrouter.ai/api/v1",),
        "openrouter/auto",
        ("openrouter/auto",),
    ),
    HostedProvider(
        "groq",
        ("GROQ_API_KEY",),
        ("https://api.groq.com/openai/v1",),
        "openai/gpt-oss-120b",
        ("openai/gpt-oss-120b", r"llama-[\d.]+-70b.*"),
    ),
    HostedProvider(
        "cerebras", ("CEREBRAS_API_KEY",), ("https://api.cerebras.ai/v1",), "gpt-oss-120b", ("gpt-oss-120b",)
    ),
    HostedProvider(
        "together",
        ("TOGETHER_API_KEY",),
        ("https://api.together.xyz/v1",),
        "openai/gpt-oss-120b",
        ("openai/gpt-oss-120b",),
    ),
    HostedProvider(
        "fireworks",
        ("FIREWORKS_API_KEY",),
        ("https://api.fireworks.ai/inference/v1",),
        "accounts/fireworks/models/gpt-oss-120b",
        (r"accounts/fireworks/models/gpt-oss-120b",),
    ),
    HostedProvider("sonar", ("PERPLEXITY_API_KEY",), ("https://api.perplexity.ai",), "sonar", ("sonar",)),
    HostedProvider(
        "command",
        ("CO_API_KEY", "COHERE_API_KEY"),
        ("https://api.cohere.ai/compatibility/v1",),
        "command-a-03-2025",
        (r"command-a-.*",),
    ),
    HostedProvider(
        "minimax", ("MINIMAX_API_KEY",), ("https://api.minimax.io/v1", "https://api.minimaxi.com/v1"), "MiniMax-M2"
    ),
    HostedProvider(
        "siliconflow",
        ("SILICONFLOW_API_KEY",),
        ("https://api.siliconflow.cn/v1", "https://api.siliconflow.com/v1"),
        "deepseek-ai/DeepSeek-V3",
        (r"deepseek-ai/DeepSeek-V[\d.]+",),
    ),
    HostedProvider(
        "nvidia",
        ("NVIDIA_API_KEY",),
        ("https://integrate.api.nvidia.com/v1",),
        "openai/gpt-oss-120b",
        ("openai/gpt-oss-120b",),
    ),
)


def offered(provider: HostedProvider, listed: Sequence[str]) -> list[str]:
    """Return the chat models of a list, in the order of the patterns, the latest first in each."""
    chat = [name for name in dict.fromkeys(listed) if not _NO_CHAT.search(name)]
    first: list[str] = []
    for pattern in provider.preferred:
        first += sorted((name for name in chat if re.fullmatch(pattern, name)), key=_version, reverse=True)
    return list(dict.fromkeys([*first, *chat]))


def _version(name: str) -> tuple[tuple[int, ...], int]:
    """Return a sort key: "gpt-5.2-mini" after "gpt-5-mini", a dated name before an undated one."""
    numbers = [int(digits) for digits in _NUMBER.findall(name) if len(digits) < _LONGEST_VERSION]
    return tuple(numbers), -len(name)
