"""What providers say where their content filters refuse (L3)."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.errors import ContentFiltered, UpstreamRefused, UpstreamStatus
from chorus.llm.reading.content_filters import filter_reason
from chorus.llm.transport.clients import Clients
from tests.kit import Raw, ScriptedUpstream, Status
from tests.llm.reaching import ask, reach

pytestmark = pytest.mark.requirement("L3")

FOUND = {"hate": {"filtered": True, "severity": "high"}, "jailbreak": {"filtered": True, "detected": True}}
SAFE = {"violence": {"filtered": False, "severity": "safe"}}
SAID = "The request was filtered."
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "openai": ({"error": {"message": SAID, "code": "content_filter"}}, SAID),
    "openai, images": ({"error": {"message": SAID, "code": "content_policy_violation"}}, SAID),
    "azure": (
        {
            "error": {
                "message": SAID,
                "code": "content_filter",
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {**SAFE, **FOUND}},
            }
        },
        f"hate (high), jailbreak: {SAID}",
    ),
    "azure, inner code": (
        {"error": {"message": SAID, "code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        SAID,
    ),
    "azure, responses": (
        {
            "error": {
                "message": SAID,
                "code": "content_filter",
                "content_filters": [{"source_type": "prompt", "content_filter_results": FOUND}],
            }
        },
        f"hate (high), jailbreak: {SAID}",
    ),
    "moonshot": ({"error": {"message": SAID, "type": "content_filter"}}, SAID),
    "qwen": ({"error": {"message": SAID, "type": "data_inspection_failed", "code": "data_inspection_failed"}}, SAID),
    "qwen, native": ({"code": "DataInspectionFailed", "message": SAID}, SAID),
    "deepseek": (
        {"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "code": "invalid_request_error"}},
        "Content Exists Risk",
    ),
    "zhipu": ({"contentFilter": [{"level": 1, "role": "user"}], "error": {"code": "1301", "message": SAID}}, SAID),
    "openrouter": (
        {"error": {"code": 403, "message": SAID, "metadata": {"reasons": ["hate"], "flagged_input": "x"}}},
        SAID,
    ),
}
OTHERS: list[Any] = [
    {"error": {"message": "The model is unknown.", "code": "model_not_found"}},
    {"error": {"message": "content_filter is no field of yours", "code": None}},
    {"error": {"message": "x", "innererror": {"code": "Other", "content_filter_result": FOUND}}},
    {"error": "content_filter"},
    {"error": None},
    [],
    None,
    "content_filter",
]


@pytest.mark.parametrize("name", REFUSALS)
def test_a_filter_is_known_by_what_it_says(name: str) -> None:
    body, reason = REFUSALS[name]
    assert filter_reason(body) == reason
    if set(body) == {"error"}:
        assert filter_reason(body["error"]) == reason


@pytest.mark.parametrize("body", OTHERS, ids=repr)
def test_other_errors_are_none(body: Any) -> None:
    assert filter_reason(body) is None


def test_categories_are_bounded() -> None:
    many = {f"c{number}": {"filtered": True} for number in range(1000)}
    reason = filter_reason({"error": {"code": "content_filter", "message": SAID, "content_filter_results": many}})
    assert reason is not None
    assert reason.count(",") == 9


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_of_a_filter_is_typed(
    scripted: ScriptedUpstream, clients: Clients, name: str, status: int
) -> None:
    body, reason = REFUSALS[name]
    scripted.on("m", Status(status, body))
    with pytest.raises(ContentFiltered) as caught:
        await ask(reach(scripted, clients, "openai"))
    assert caught.value.message.endswith(reason)
    assert reason not in caught.value.log_message
    assert len(scripted.requests) == 1


async def test_another_status_is_no_filter(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Status(500, REFUSALS["openai"][0]))
    with pytest.raises(UpstreamStatus):
        await ask(reach(scripted, clients, "openai"))
    scripted.on("m", Status(400, OTHERS[0]))
    with pytest.raises(UpstreamRefused):
        await ask(reach(scripted, clients, "openai"))


async def test_an_error_of_a_filter_in_the_stream_keeps_its_words(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Raw([b'data: {"error": {"code": "content_filter", "message": "' + SAID.encode() + b'"}}\n\n']))
    with pytest.raises(ContentFiltered, match=SAID):
        await ask(reach(scripted, clients, "openai"))
