"""Refusals of the Responses API that teach which fields a model takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chorus.errors import UpstreamRefused
from chorus.llm.base import Call
from chorus.llm.providers.responses.lessons import lesson_of
from chorus.llm.providers.traits import responses_traits
from chorus.llm.registry import Reached
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message, Sampling
from tests.kit import Raw, ScriptedUpstream, Status
from tests.kit.providers.http import encoded
from tests.kit.providers.responses_wire import message, response
from tests.kit.record import Recorded
from tests.kit.script import Behaviour
from tests.llm.reaching import reached, text_of

FINE = Raw([encoded(response([message("msg_1", "ready")], {}))], content_type="application/json", close=False)
SEALED = {
    "type": "reasoning.encrypted",
    "format": "openai-responses-v1",
    "id": "rs_1",
    "data": "gA",
    "before": "message",
}
FULL = ChatRequest(
    "m",
    (
        Message("user", "hi"),
        Message("assistant", "So.", extra={"reasoning_details": [SEALED]}),
        Message("user", "and?"),
    ),
    Sampling(0.5, 0.9, 64),
    reasoning_effort="minimal",
    extra={"verbosity": "low", "service_tier": "flex", "prompt_cache_key": "k"},
)

pytestmark = pytest.mark.requirement("L2")


def unsupported(field: str) -> Any:
    text = f"Unsupported parameter: '{field}' is not supported with this model."
    return {
        "error": {"message": text, "type": "invalid_request_error", "param": field, "code": "unsupported_parameter"}
    }


def at(body: Any, path: str) -> Any:
    for key in path.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return body


def refusing(path: str, error: Any) -> Any:
    """What refuses each request that has the field."""

    def step(request: Recorded) -> Behaviour:
        has = (
            path in request.json.get("include", ())
            if path.startswith("reasoning.enc")
            else at(request.json, path) is not None
        )
        return Status(400, error) if has else FINE

    return step


async def asked(model: Reached, request: ChatRequest = FULL) -> tuple[str, list[str]]:
    warnings: list[str] = []
    async with model.upstream.open(Call(request, stream=False, warn=warnings.append)) as chunks:
        return text_of([chunk async for chunk in chunks]), warnings


NOT_VERIFIED = {
    "error": {
        "message": "Your organization must be verified to generate reasoning summaries. Please go to: https://x.example",
        "type": "invalid_request_error",
        "param": "reasoning.summary",
        "code": "unsupported_value",
    }
}
NO_ENCRYPTED = {
    "error": {
        "message": "Encrypted content is not supported with this model.",
        "type": "invalid_request_error",
        "param": "include",
        "code": None,
    }
}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        *((path, unsupported(path)) for path in ("temperature", "top_p", "service_tier", "prompt_cache_key")),
        *((path, unsupported(path)) for path in ("reasoning.effort", "reasoning.summary", "text.verbosity")),
        ("max_output_tokens", unsupported("max_output_tokens")),
        ("reasoning.summary", NOT_VERIFIED),
        ("reasoning.encrypted_content", NO_ENCRYPTED),
    ],
)
async def test_a_field_that_is_refused_is_left_out_from_then_on(
    scripted: ScriptedUpstream, clients: Clients, path: str, error: Any
) -> None:
    scripted.on("m", refusing(path, error))
    model = reached(scripted.api_base, clients, "responses")
    text, warnings = await asked(model)
    assert text == "ready"
    assert any("refused a field" in warning for warning in warnings)
    await asked(model)
    assert len(scripted.requests) == 3
    [replica] = model.pool.replicas
    assert replica.lessons is not None
    assert len(replica.lessons.as_json()) == 1


async def test_the_nearest_effort_is_sent(scripted: ScriptedUpstream, clients: Clients) -> None:
    error = {
        "error": {
            "message": "Unsupported value: 'reasoning.effort' does not support 'minimal' with this model. Supported "
            "values are: 'low', 'medium', and 'high'.",
            "param": "reasoning.effort",
            "code": "unsupported_value",
        }
    }
    scripted.on("m", lambda request: Status(400, error) if at(request.json, "reasoning.effort") == "minimal" else FINE)
    await asked(reached(scripted.api_base, clients, "responses"))
    assert scripted.requests[-1].json["reasoning"]["effort"] == "low"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            "The encrypted content for item rs_1 could not be verified. Reason: Encrypted content could not be "
            "decrypted or parsed.",
            "invalid_encrypted_content",
        ),
        ("Item 'rs_1' of type 'reasoning' was provided without its required following item.", None),
        (
            "Item 'ws_1' of type 'web_search_call' was provided without its required 'reasoning' item: 'rs_0'.",
            None,
        ),
    ],
)
async def test_reasoning_that_cannot_be_read_is_left_out_of_this_conversation_only(
    scripted: ScriptedUpstream, clients: Clients, text: str, code: str | None
) -> None:
    error = {"error": {"message": text, "type": "invalid_request_error", "param": "input", "code": code}}
    scripted.on("m", lambda request: Status(400, error) if b"gA" in request.body else FINE)
    model = reached(scripted.api_base, clients, "responses")
    assert (await asked(model))[0] == "ready"
    assert len(scripted.requests) == 2
    assert model.pool.replicas[0].lessons is not None
    assert model.pool.replicas[0].lessons.as_json() == []
    await asked(model)
    assert len(scripted.requests) == 4


@pytest.mark.parametrize(
    "text",
    [
        "Invalid 'max_output_tokens': integer below minimum value.",
        "Missing required parameter: 'input'.",
        "No.",
        "metadata",
    ],
)
async def test_a_fault_of_the_caller_teaches_nothing(scripted: ScriptedUpstream, clients: Clients, text: str) -> None:
    scripted.on("m", Status(400, {"error": {"message": text}}))
    with pytest.raises(UpstreamRefused):
        await asked(reached(scripted.api_base, clients, "responses"))
    assert len(scripted.requests) == 1


def test_what_cannot_be_read_teaches_nothing() -> None:
    traits = responses_traits("m")
    assert lesson_of(400, b"\xff", b"not JSON", traits, ()) is None
    assert lesson_of(404, json.dumps(unsupported("temperature")).encode(), b'{"temperature": 1}', traits, ()) is None
