"""The HTTP providers against a scripted upstream on a socket: answers, and every way they fail (L2,
L3, L5).
"""

import pytest

from chorus.errors import (
    LLMError,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
)
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.registry import build
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Image, Message, Sampling, Text, ToolCall
from tests.kit import Cut, Empty, ErrorInStream, Raw, Say, ScriptedUpstream, Status, free_port
from tests.llm.reaching import PROVIDERS, ask, reach, text_of


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.requirement("L2")
async def test_an_answer_arrives_whole(
    scripted: ScriptedUpstream, clients: Clients, provider: str, stream: bool
) -> None:
    scripted.on("m", Say("The answer is 好🙂.", reasoning="let me see", usage=(7, 3)))
    chunks = await ask(reach(scripted, clients, provider), stream=stream)
    assert text_of(chunks) == "The answer is 好🙂."
    assert "".join(chunk.reasoning for chunk in chunks) == "let me see"
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    [usage] = [chunk.usage for chunk in chunks if chunk.usage]
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 3)


@pytest.mark.requirement("L2")
async def test_the_key_is_ours_and_the_request_id_travels(scripted: ScriptedUpstream, clients: Clients) -> None:
    await ask(reach(scripted, clients, "openai"))
    [seen] = scripted.requests
    headers = {name.lower(): value for name, value in dict(seen.headers).items()}
    assert headers["authorization"] == "Bearer sk-secret"
    assert headers["x-request-id"] == "req-1"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_tool_call_arrives_whole(
    scripted: ScriptedUpstream, clients: Clients, provider: str, stream: bool
) -> None:
    call = {"id": "call_7", "name": "weather", "arguments": '{"city": "北京"}'}
    scripted.on("m", Say("", tool_calls=[call]))
    chunks = await ask(reach(scripted, clients, provider), stream=stream)
    pieces = [piece for chunk in chunks for piece in chunk.tool_calls]
    assert pieces[0].name == "weather"
    assert pieces[0].id
    assert "北京" in "".join(piece.arguments for piece in pieces)
    assert chunks[-1].finish_reason == "tool_calls"


@pytest.mark.requirement("L5")
async def test_a_think_block_is_reasoning(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Say("<think>hm, 2+2</think>\n\n4", pieces=["<th", "ink>hm, 2", "+2</thi", "nk>\n", "\n4"]))
    chunks = await ask(reach(scripted, clients, "openai"))
    assert text_of(chunks) == "4"
    assert "".join(chunk.reasoning for chunk in chunks) == "hm, 2+2"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("behaviour", "error", "words"),
    [
        (Status(500), UpstreamStatus, "status 500"),
        (Status(401), UpstreamStatus, "api_key"),
        (Status(400), UpstreamRefused, "refused"),
        (Status(429, headers={"Retry-After": "7"}), UpstreamRateLimited, "rate limited"),
        (Status(503, "<html><body>down</body></html>"), UpstreamStatus, "HTML page"),
        (ErrorInStream(after_pieces=0), LLMError, "reported an error"),
        (ErrorInStream(after_pieces=1), LLMError, "reported an error"),
        (Cut(after_pieces=1), UpstreamProtocol, "broke off"),
        (Cut(after_pieces=1, clean=True), UpstreamProtocol, "ended its stream"),
        (Cut(after_pieces=None), UpstreamConnect, "without an answer"),
        (Empty(), UpstreamProtocol, ""),
        (Raw([b"<html>hello</html>"], content_type="text/html"), UpstreamProtocol, ""),
        (Raw([b"data: {not json\n\n"], content_type="text/event-stream"), UpstreamProtocol, "sent"),
        (Raw([b"not http at all\r\n\r\n"], head=False), LLMError, ""),
    ],
)
@pytest.mark.requirement("L3")
async def test_every_failure_has_a_type(
    scripted: ScriptedUpstream,
    clients: Clients,
    provider: str,
    behaviour: object,
    error: type[LLMError],
    words: str,
) -> None:
    scripted.on("m", behaviour)
    with pytest.raises(error) as caught:
        await ask(reach(scripted, clients, provider))
    assert words in caught.value.message
    assert "sk-secret" not in caught.value.message
    assert not caught.value.message.startswith(("{", "[", "<"))


@pytest.mark.requirement("L3")
async def test_nobody_there(clients: Clients) -> None:
    upstream = build(
        ModelAddress("m", "openai", (ReplicaAddress(f"http://127.0.0.1:{free_port()}/v1"),), "m", attempts=1), clients
    ).upstream
    with pytest.raises(UpstreamConnect, match="cannot be reached"):
        await ask(upstream)


@pytest.mark.requirement("L3")
async def test_what_an_upstream_says_is_cut_redacted_and_kept_out_of_the_log(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    secret = "sk-abcdefghijklmnop1234"
    scripted.on("m", Status(500, {"error": {"message": f"key {secret} at " + "long " * 200}}))
    with pytest.raises(UpstreamStatus) as caught:
        await ask(reach(scripted, clients, "openai"))
    assert secret not in caught.value.message
    assert len(caught.value.message) < 400
    assert "long" not in caught.value.log_message


async def test_retry_after_is_read(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Status(429, headers={"Retry-After": "7"}))
    with pytest.raises(UpstreamRateLimited) as caught:
        await ask(reach(scripted, clients, "openai"))
    assert caught.value.retry_after == 7


@pytest.mark.requirement("L1")
async def test_connections_are_reused(scripted: ScriptedUpstream, clients: Clients) -> None:
    upstream = reach(scripted, clients, "openai")
    for _ in range(20):
        await ask(upstream, stream=False)
    assert scripted.connections_opened == 1


async def test_openai_leaves_empty_fields_out(scripted: ScriptedUpstream, clients: Clients) -> None:
    await ask(reach(scripted, clients, "openai"), stream=False)
    assert scripted.requests[0].json == {"model": "m", "messages": [{"role": "user", "content": "How?"}]}


async def test_the_whole_conversation_reaches_ollama_in_its_own_shape(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    conversation = (
        Message("developer", "Be brief."),
        Message("user", (Text("What is this?"), Image("data:image/png;base64,iVBORxyz"))),
        Message("assistant", "", tool_calls=(ToolCall("call_1", "look", '{"at": "it"}'),)),
        Message("tool", "a cat", tool_call_id="call_1"),
    )
    request = ChatRequest(
        "m",
        conversation,
        Sampling(temperature=0.5, max_tokens=9, stop=("END",), seed=3),
        response_format={"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        ollama_options={"num_ctx": 4096},
    )
    await ask(reach(scripted, clients, "ollama"), request)
    body = scripted.requests[0].json
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool"]
    assert body["messages"][1]["images"] == ["iVBORxyz"]
    assert body["messages"][2]["tool_calls"][0]["function"]["arguments"] == {"at": "it"}
    assert body["messages"][3]["tool_name"] == "look"
    assert body["options"] == {"num_ctx": 4096, "temperature": 0.5, "num_predict": 9, "stop": ["END"], "seed": 3}
    assert body["format"] == {"type": "object"}


@pytest.mark.requirement("L2")
async def test_cookies_of_one_answer_do_not_travel_with_the_next_question(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    scripted.on("m", Say("hello", headers={"Set-Cookie": "session=alice; Path=/"}))
    upstream = reach(scripted, clients, "openai")
    await ask(upstream)
    await ask(upstream)
    assert all("cookie" not in {name.lower() for name in dict(request.headers)} for request in scripted.requests)
