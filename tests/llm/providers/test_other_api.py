"""A model that exists only behind the Responses API says so, and the error says what to write
(L3).
"""

from __future__ import annotations

from typing import Any

import pytest

from chorus.errors import UpstreamStatus
from chorus.llm.transport.clients import Clients
from tests.kit import ScriptedUpstream, Status
from tests.llm.reaching import ask, reached

HINT = 'provider = "responses"'


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": "model", "code": None}}


@pytest.mark.parametrize(
    ("status", "message", "has_hint"),
    [
        (404, "This model is only supported in v1/responses and not in v1/chat/completions.", True),
        (400, "The model `o9-pro` is only available through the Responses API.", True),
        (400, 'model "gpt-5.3-codex" is not accessible via the /chat/completions endpoint', True),
        (400, "This model does not take chat completions. Please use the /v1/responses endpoint.", True),
        (404, "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use "
         "v1/completions?", False),
        (404, "The model `x` does not exist or you do not have access to it.", False),
        (400, "Invalid 'messages': empty array.", False),
        (500, "This model is only supported in v1/responses and not in v1/chat/completions.", False),
    ],
)  # fmt: skip
@pytest.mark.requirement("L3")
async def test_the_error_names_the_provider_that_reaches_the_model(
    scripted: ScriptedUpstream, clients: Clients, status: int, message: str, has_hint: bool
) -> None:
    scripted.on("m", Status(status, error(message)))
    with pytest.raises(UpstreamStatus) as raised:
        await ask(reached(scripted.api_base, clients).upstream)
    assert message[:40] in raised.value.message
    assert (HINT in raised.value.message) is has_hint
    assert (HINT in raised.value.log_message) is has_hint
    assert message[:40] not in raised.value.log_message
