"""Every form of input that `/v1/responses` takes (A3)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.errors import ChorusError
from chorus.server.dialects import DIALECTS
from tests.kit import ScriptedUpstream

HI = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"input": "hi"}, [HI]),
        ({"input": "hi", "instructions": "Be kind."}, [{"role": "system", "content": "Be kind."}, HI]),
        ({"input": [{"role": "user", "content": "hi"}]}, [HI]),
        ({"input": {"role": "user", "content": "hi"}}, [HI]),
        ({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}, [HI]),
        ({"input": [[{"role": "user", "content": [[{"type": "text", "text": "hi"}]]}]]}, [HI]),
        ({"input": [{"type": "input_text", "text": "hi"}]}, [HI]),
        ({"input": ["hi"]}, [HI]),
        (
            {"input": [HI, {"role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}, HI]},
            [HI, {"role": "assistant", "content": "yes"}, HI],
        ),
        ({"messages": [HI]}, [HI]),
        ({"messages": "hi"}, [HI]),
        ({"prompt": "hi"}, [HI]),
        ({"instructions": "hi"}, [HI]),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}, HI]}, [HI]),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,xx"}]}
                ]
            },
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}]}],
        ),
        (
            {"input": [{"role": "developer", "content": "Be kind."}, HI]},
            [{"role": "system", "content": "Be kind."}, HI],
        ),
    ],
)
@pytest.mark.requirement("A3")
async def test_every_form_becomes_messages(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, body: dict[str, Any], sent: list[Any]
) -> None:
    response = await client.post("/v1/responses", json={"model": "glm", **body})
    assert response.status_code == 200, response.text
    assert scripted.calls("glm")[0].json["messages"] == sent


@pytest.mark.parametrize(
    "body", [{}, {"input": ""}, {"input": []}, {"input": "  ", "messages": []}, {"instructions": ""}]
)
@pytest.mark.requirement("A3")
async def test_nothing_usable_is_said_in_exactly_these_words(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await client.post("/v1/responses", json={"model": "glm", **body})
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "invalid request: missing input/messages/prompt/instructions"


WORDS = st.sampled_from(
    [
        "model",
        "messages",
        "input",
        "prompt",
        "role",
        "user",
        "content",
        "type",
        "text",
        "input_text",
        "message",
        "function_call",
        "stream",
        "tools",
        "n",
        "options",
        "temperature",
        "stop",
        "instructions",
        "images",
        "output",
        "call_id",
        "arguments",
        "name",
        "item_reference",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, width=16) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(body=st.dictionaries(WORDS, VALUES, max_size=6))
@pytest.mark.requirement("A6")
def test_any_json_is_understood_or_refused_by_every_dialect(body: dict[str, Any]) -> None:
    for dialect in DIALECTS:
        try:
            understood = dialect.parse(body).model == body["model"]
        except ChorusError as refused:
            understood = refused.status == 400
        assert understood
