"""The client-facing protocols: each turns its wire into `ChatRequest`s and a journal back onto its wire, and is the only
place that knows its shapes. `DIALECTS` is the table of routes."""

from chorus.server.dialects.anthropic_messages import AnthropicMessages
from chorus.server.dialects.base import Asked, Dialect, Encoder, Frame, Reply
from chorus.server.dialects.ollama_chat import OllamaChat
from chorus.server.dialects.ollama_generate import OllamaGenerate
from chorus.server.dialects.openai_chat import OpenAIChat
from chorus.server.dialects.openai_completions import OpenAICompletions
from chorus.server.dialects.openai_responses import OpenAIResponses

DIALECTS: tuple[Dialect, ...] = (
    OpenAIChat(),
    OpenAICompletions(),
    OpenAIResponses(),
    OllamaChat(),
    OllamaGenerate(),
    AnthropicMessages(),
)

__all__ = ["DIALECTS", "Asked", "Dialect", "Encoder", "Frame", "OpenAIResponses", "Reply"]
