"""langchain's own standard tests of chat models, with Chorus behind them.

`test_foreign.py` runs this file by the pytest of an environment of its own, and has the reasons for
every test of the suite that does not apply.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests, chat_models

BASE = os.environ["CHORUS_BASE"]
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000049454e44ae426082")


@pytest.fixture(autouse=True)
def _no_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite downloads its picture; here it is given one."""
    monkeypatch.setattr(chat_models.httpx, "get", lambda url, **_: httpx.Response(200, content=PNG))


class Standard(ChatModelIntegrationTests):
    """What all of them share."""

    MODEL: ClassVar[str]

    @property
    def model_override_value(self) -> str:
        return "kimi"

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}


class OpenAIChat(Standard):
    """ChatOpenAI over /v1/chat/completions."""

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.MODEL, "base_url": f"{BASE}/v1", "api_key": "x", "max_retries": 0, "stream_usage": True}

    @property
    def supports_image_urls(self) -> bool:
        return self.MODEL != "local"  # Ollama itself takes no addresses of images

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        details = ["reasoning_output", "cache_read_input"]
        return {"invoke": details, "stream": details}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        chat = ChatOpenAI(**self.chat_model_params)
        pieces = list(chat.stream("How?")) if stream else [chat.invoke("How?")]
        return next(piece for piece in pieces if piece.usage_metadata)

    invoke_with_cache_read_input = invoke_with_reasoning_output


class OpenAIResponses(OpenAIChat):
    """ChatOpenAI over /v1/responses."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "use_responses_api": True}


class Ollama(Standard):
    """ChatOllama over /api/chat."""

    @property
    def chat_model_class(self) -> type[ChatOllama]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # reads no certificates
        return {"model": self.MODEL, "base_url": BASE, "client_kwargs": {"verify": False}}

    @property
    def supports_image_tool_message(self) -> bool:
        return True


# each of the wires and of the kinds of models; `langchain_and_litellm.py` has all nine pairs
for _kind, _model in ((OpenAIChat, "glm"), (OpenAIChat, "local"), (OpenAIResponses, "chorus"), (Ollama, "local")):
    _name = f"Test{_kind.__name__}{_model.capitalize()}"
    globals()[_name] = type(_name, (_kind,), {"MODEL": _model})
