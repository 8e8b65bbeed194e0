"""Azure OpenAI: deployments behind `api-version`, and `/openai/v1`, as Microsoft's REST reference
has them.

The key is in `api-key`, and nowhere else. Refused are addresses without a version or with another
one, deployments that do not exist, fields of other providers, and prompts that its content filter
takes. Each answer carries `content_filter_results`; the first event of a stream has no choices, and
the asynchronous filter sends a last one without a delta.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs

from tests.kit.record import Recorded

from . import ModelAnswer, ReceivedRequest
from .http import KEY, MODEL, Refused, event
from .openai import OpenAIProvider

VERSION = "2024-10-21"
SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
FOREIGN = ("reasoning_content", "reasoning_details", "cache_control", "thinking")
CODES = {401: "401", 404: "DeploymentNotFound", 429: "429"}


class AzureProvider(OpenAIProvider):
    """`provider = "azure"` with a dated version."""

    name: ClassVar[str] = "azure"
    keeps: ClassVar[frozenset[str]] = frozenset()
    paths: ClassVar[tuple[str, ...]] = (f"/openai/deployments/{MODEL}/chat/completions",)
    version: ClassVar[str] = VERSION

    def settings(self) -> str:
        version = f'api_version = "{self.version}"\n' if self.version else ""
        return f'provider = "azure"\nmodel = "{MODEL}"\napi_base = "{self.base}"\napi_key = "{KEY}"\n{version}'

    def key(self, recorded: Recorded) -> str:
        assert "authorization" not in recorded.headers
        return recorded.headers.get("api-key", "")

    def received(self, recorded: Recorded) -> ReceivedRequest:
        if parse_qs(recorded.query).get("api-version", [""]) != [self.version]:
            raise Refused("Resource not found", 404)
        for message in recorded.messages:
            for name in FOREIGN:
                if name in message:
                    raise Refused(f"Unrecognized request argument supplied: messages.{name}")
        return super().received(recorded)

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": CODES.get(status, "BadRequest"), "message": message}}

    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        body = super().whole(answer, request)
        for choice in body["choices"]:
            choice["content_filter_results"] = SAFE
        return {**body, "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}]}

    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        *events, done = super().stream(answer, request)
        shell = {"id": "", "object": "", "created": 0, "model": ""}
        filtered = [{"prompt_index": 0, "content_filter_results": SAFE}]
        offsets = {"check_offset": 44, "start_offset": 44, "end_offset": 198}
        asynchronous = {"index": 0, "finish_reason": None, "content_filter_offsets": offsets}
        return [
            event({**shell, "choices": [], "prompt_filter_results": filtered}),
            *events,
            event({**shell, "choices": [{**asynchronous, "content_filter_results": SAFE}]}),
            done,
        ]


class AzureV1Provider(AzureProvider):
    """`provider = "azure"` at `/openai/v1`, which needs no version."""

    name: ClassVar[str] = "azure-v1"
    paths: ClassVar[tuple[str, ...]] = ("/openai/v1/chat/completions",)
    version: ClassVar[str] = ""

    def received(self, recorded: Recorded) -> ReceivedRequest:
        if not isinstance(recorded.json, dict) or recorded.json.get("model") != MODEL:
            raise Refused("The API deployment for this resource does not exist.", 404)
        return super().received(recorded)


def filtered_prompt(**categories: Mapping[str, Any]) -> bytes:
    """The body of a 400 of the content filter that found these categories."""
    error = {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
        "policy. Please modify your prompt and retry.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {**SAFE, "jailbreak": {"detected": False, "filtered": False}, **categories},
        },
    }
    return json.dumps({"error": error}).encode()
