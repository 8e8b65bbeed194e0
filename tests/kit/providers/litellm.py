"""Behind LiteLLM: the scripted provider of OpenAI's API, which LiteLLM calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from . import ModelAnswer, ReceivedRequest
from .http import KEY, MODEL
from .openai import OpenAIProvider


class LiteLLMProvider(OpenAIProvider):
    """`provider = "litellm"` with a model of an OpenAI-compatible server. There are no signatures: of a stream,
    LiteLLM drops them."""

    name: ClassVar[str] = "litellm"
    environment: ClassVar[str | None] = "litellm"

    keeps: ClassVar[frozenset[str]] = frozenset({"thinking"})

    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        return super().whole(replace(answer, signature=""), request)

    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        return super().stream(replace(answer, signature=""), request)

    def settings(self) -> str:
        return f'provider = "litellm"\nmodel = "openai/{MODEL}"\napi_base = "{self.base}/v1"\napi_key = "{KEY}"\n'
