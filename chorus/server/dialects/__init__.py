"""The client-facing protocols: each turns its wire into `ChatRequest`s and a journal back onto its
wire, and is the only place that knows its shapes. `DIALECTS` is the table of routes."""

from typing import Any

from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.base import Dialect, ParsedRequest, ResponseContext
from chorus.server.dialects.ollama.chat import OllamaChat
from chorus.server.dialects.ollama.generate import OllamaGenerate
from chorus.server.dialects.openai.chat import OpenAIChat
from chorus.server.dialects.openai.completions import OpenAICompletions
from chorus.server.dialects.responses.dialect import OpenAIResponses

DIALECTS: tuple[Dialect[Any], ...] = (
    OpenAIChat(),
    OpenAICompletions(),
    OpenAIResponses(),
    OllamaChat(),
    OllamaGenerate(),
    AnthropicMessages(),
)

__all__ = ["DIALECTS", "Dialect", "OpenAIResponses", "ParsedRequest", "ResponseContext"]
