"""Names of OpenTelemetry's conventions for generative AI: the one place that holds them (O3).

The conventions are not stable. Names are those of the last published set (v1.41 of
`semantic-conventions`), which backends read. Head of `semantic-conventions-genai` has others:

| published | head |
|---|---|
| `gen_ai.usage.cache_creation.input_tokens` | `gen_ai.usage.cache_write.input_tokens` |
| `gen_ai.client.operation.duration` (metric) | `gen_ai.client.inference.duration` |
| `gen_ai.client.token.usage` (metric) | `gen_ai.client.inference.usage.*` |
| - | operations `search_memory`, `upsert_memory` |

Metrics stay Prometheus's. What the conventions have no name for begins with `chorus.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
WORKFLOW: Final = "gen_ai.workflow.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
TEMPERATURE: Final = "gen_ai.request.temperature"
CHOICES: Final = "gen_ai.request.choice.count"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

CHAT: Final = "chat"
INVOKE_WORKFLOW: Final = "invoke_workflow"
SEARCH_MEMORY: Final = "search_memory"
UPSERT_MEMORY: Final = "upsert_memory"

RUN_ID: Final = "chorus.run_id"
REQUEST_ID: Final = "chorus.request_id"
STAGE: Final = "chorus.stage"
PATH: Final = "chorus.path"
STATUS: Final = "chorus.status"
INSTANCE: Final = "chorus.instance"
COST: Final = "chorus.cost"
REASONING_TOKENS: Final = "chorus.usage.reasoning_tokens"
SELECTED: Final = "chorus.selected_worker"
SHORTCUTS: Final = "chorus.shortcuts"

PUBLISHED: Final = frozenset({
    OPERATION, PROVIDER, WORKFLOW, REQUEST_MODEL, TEMPERATURE, CHOICES, FINISH_REASONS, INPUT_TOKENS,
    OUTPUT_TOKENS, CACHED_TOKENS, INPUT_MESSAGES, OUTPUT_MESSAGES, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE,
})  # fmt: skip
"""Attributes that the published conventions have; all others are ours."""

_BY_HOST: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.groq.com": "groq",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
    "generativelanguage.googleapis.com": "gcp.gemini",
}
_BY_PROVIDER: Final = {"responses": "openai"}
"""Names of the conventions for providers of the configuration that are called otherwise."""
_AZURE: Final = ".openai.azure.com"


@lru_cache(maxsize=1024)
def endpoint_attributes(provider: str, api_base: str | None) -> Mapping[str, str | int]:
    """Return what the conventions say of an upstream: who provides it, its host and its port."""
    parts = urlsplit(api_base or "")
    host = parts.hostname or ""
    is_azure = provider == "azure" or host.endswith(_AZURE)
    known = _BY_HOST.get(host, _BY_PROVIDER.get(provider, provider))
    named = "azure.ai.openai" if is_azure else known
    shown: dict[str, str | int] = {PROVIDER: named}
    if host:
        shown[SERVER_ADDRESS] = host
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    if host and port:
        shown[SERVER_PORT] = port
    return shown
