"""The rows of the matrix: one provider each."""

from __future__ import annotations

from tests.kit.providers.anthropic import AdaptiveAnthropicProvider, AnthropicProvider
from tests.kit.providers.azure import AzureProvider, AzureV1Provider
from tests.kit.providers.http import HttpProvider
from tests.kit.providers.litellm import LiteLLMAnthropicProvider, LiteLLMProvider
from tests.kit.providers.ollama import OllamaProvider
from tests.kit.providers.openai import OpenAIProvider
from tests.kit.providers.responses import ResponsesProvider

PROVIDERS: dict[str, type[HttpProvider]] = {
    "openai": OpenAIProvider,
    "ollama": OllamaProvider,
    "responses": ResponsesProvider,
    "anthropic": AnthropicProvider,
    "anthropic-adaptive": AdaptiveAnthropicProvider,
    "azure": AzureProvider,
    "azure-v1": AzureV1Provider,
    "litellm": LiteLLMProvider,
    "litellm-anthropic": LiteLLMAnthropicProvider,
}
