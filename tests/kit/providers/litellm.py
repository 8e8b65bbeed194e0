"""Behind LiteLLM: the scripted providers of OpenAI's and Anthropic's APIs, which LiteLLM calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from tests.kit.record import Recorded

from . import ModelAnswer, ReceivedRequest
from .anthropic import AdaptiveAnthropicProvider
from .http import KEY, MODEL
from .openai import OpenAIProvider


class LiteLLMProvider(OpenAIProvider):
    """`provider = "litellm"` with a model of an OpenAI-compatible server.

    There are no signatures: of a stream, LiteLLM drops them.
    """

    name: ClassVar[str] = "litellm"
    environment: ClassVar[str | None] = "litellm"

    keeps: ClassVar[frozenset[str]] = frozenset({"thinking"})

    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        return super().whole(replace(answer, signature=""), request)

    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        return super().stream(replace(answer, signature=""), request)

    def settings(self) -> str:
        return f'provider = "litellm"\nmodel = "openai/{MODEL}"\napi_base = "{self.base}/v1"\napi_key = "{KEY}"\n'


class LiteLLMAnthropicProvider(AdaptiveAnthropicProvider):
    """`provider = "litellm"` with a model of Anthropic's, whose thinking is signed.

    LiteLLM asks for a schema by the field that `output_config.format` was called in its beta, which
    the API takes with the beta's name.
    """

    name: ClassVar[str] = "litellm-anthropic"
    tool_images: ClassVar[bool] = False
    environment: ClassVar[str | None] = "litellm"

    def settings(self) -> str:
        model = f"anthropic/{self.model}"
        return f'provider = "litellm"\nmodel = "{model}"\napi_base = "{self.base}"\napi_key = "{KEY}"\n'

    def _checked(self, recorded: Recorded) -> dict[str, Any]:
        body = super()._checked(recorded)
        if "output_format" in body and "structured-outputs" in recorded.headers.get("anthropic-beta", ""):
            body["output_config"] = {**body.get("output_config", {}), "format": body.pop("output_format")}
        return body
