"""Answers with something odd in them: what is not needed of an answer never loses it (L3)."""

from __future__ import annotations

import json

import pytest

from chorus.errors import LLMError, UpstreamProtocol, UpstreamStatus
from chorus.llm.base import MAX_CALLS
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message
from chorus.usage import Usage, estimate_tokens
from tests.kit import Raw, ScriptedUpstream, Status
from tests.llm.answers import (
    FINE,
    ODD,
    calls_of,
    delta,
    encoded,
    events,
    lines,
    message,
    obj,
    usage_of,
    whole,
)
from tests.llm.reaching import PROVIDERS, ask, reach, text_of

pytestmark = pytest.mark.requirement("L3")
PROMPT = estimate_tokens("How?")


@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_count_that_is_none_counts_as_not_reported(
    scripted: ScriptedUpstream, clients: Clients, stream: bool, field: str
) -> None:
    upstream = reach(scripted, clients, "openai")
    for odd in (*ODD, None):
        counts = {"prompt_tokens": "7", "completion_tokens": "3"} | {field: odd or ""}
        usage = obj(**{name: value for name, value in counts.items() if value})
        if stream:
            scripted.on("m", events(delta(content=FINE), delta('"stop"'), obj(choices="[]", usage=usage)))
        else:
            scripted.on("m", whole(message(content=FINE, more=f', "usage": {usage}')))
        chunks = await ask(upstream, stream=stream)
        assert text_of(chunks) == "fine", odd
        assert usage_of(chunks) == (Usage(PROMPT, 3, estimated=True) if field == "prompt_tokens" else None), odd


async def test_a_count_of_ollamas_that_is_none_counts_as_not_reported(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    upstream, said = reach(scripted, clients, "ollama"), {"message": obj(content=FINE), "done": "true"}
    for odd in (*ODD, None):
        prompt, answer = ({"prompt_eval_count": odd}, {"eval_count": odd}) if odd else ({}, {})
        steps = lines(obj(**said, **prompt, eval_count="3")), lines(obj(**said, **answer, prompt_eval_count="7"))
        for step, expected in zip(steps, (Usage(PROMPT, 3, estimated=True), None), strict=True):
            scripted.on("m", step)
            chunks = await ask(upstream)
            assert (text_of(chunks), usage_of(chunks)) == ("fine", expected), odd


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ('{"prompt_tokens": "7", "completion_tokens": 3.0}', Usage(7, 3)),
        ('{"prompt_tokens": 7, "total_tokens": 10}', Usage(7, 3)),
        ('{"completion_tokens": 3, "total_tokens": 10}', Usage(7, 3)),
        ('{"prompt_tokens": 7, "completion_tokens": -1, "total_tokens": 6}', None),
        ('{"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}', Usage(7, 3, 5)),
        ('{"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}}', Usage(7, 3, 7)),
        ('{"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -5}}', Usage(7, 3)),
        ('{"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": []}', Usage(7, 3)),
        ('{"prompt_tokens": 7, "completion_tokens": 3, "completion_tokens_details": "x"}', Usage(7, 3)),
        (
            '{"prompt_tokens": 7, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 2}}',
            Usage(7, 3, 0, 2),
        ),
        ("[]", None),
        ("NaN", None),
        ('"n/a"', None),
        ("7", None),
    ],
)
async def test_each_count_is_read_for_itself(
    scripted: ScriptedUpstream, clients: Clients, usage: str, expected: Usage | None
) -> None:
    scripted.on("m", whole(message(content=FINE, more=f', "usage": {usage}')))
    chunks = await ask(reach(scripted, clients, "openai"), stream=False)
    assert (text_of(chunks), usage_of(chunks)) == ("fine", expected)


@pytest.mark.parametrize(
    "field", ["id", "created", "model", "object", "usage", "system_fingerprint", "prompt_filter_results", "timings"]
)
async def test_odd_fields_beside_the_choices(scripted: ScriptedUpstream, clients: Clients, field: str) -> None:
    upstream = reach(scripted, clients, "openai")
    for odd in ODD:
        more = f', "{field}": {odd}}}'
        first, last = delta(content='"fi"')[:-1] + more, delta('"stop"', content='"ne"')[:-1] + more
        scripted.on("m", events(first, last))
        assert text_of(await ask(upstream)) == "fine", odd
        scripted.on("m", whole(message(content=FINE)[:-1] + more))
        assert text_of(await ask(upstream, stream=False)) == "fine", odd


@pytest.mark.parametrize(
    "field",
    [
        "index", "logprobs", "finish_reason", "stop_reason", "delta.role", "delta.tool_calls", "delta.refusal",
        "delta.reasoning", "delta.reasoning_content", "delta.audio", "delta.function_call", "delta.annotations",
    ],
)  # fmt: skip
async def test_odd_fields_of_a_choice(scripted: ScriptedUpstream, clients: Clients, field: str) -> None:
    where, _, name = field.rpartition(".")
    upstream = reach(scripted, clients, "openai")
    for odd in ODD:
        message_fields = {"content": FINE} | ({name: odd} if where else {})
        choice_fields = {"finish_reason": '"stop"'} | ({} if where else {name: odd})
        for stream, kind in ((True, "delta"), (False, "message")):
            answer = obj(choices=f"[{obj(**{kind: obj(**message_fields)}, **choice_fields)}]")
            scripted.on("m", events(answer) if stream else whole(answer))
            chunks = await ask(upstream, stream=stream)
            assert text_of(chunks) == "fine", odd
            assert chunks[-1].finish_reason == "stop", odd
            assert not calls_of(chunks), odd


async def test_entries_of_a_list_that_are_none_are_left_out(scripted: ScriptedUpstream, clients: Clients) -> None:
    upstream = reach(scripted, clients, "openai")
    for odd in ODD:
        if not odd.startswith("{"):  # an object is a choice, though an empty one
            scripted.on("m", events(f'{{"choices": [{odd}, {delta(content=FINE)[13:]}', delta('"stop"')))
            assert text_of(await ask(upstream)) == "fine", odd
            scripted.on("m", whole(f'{{"choices": [{odd}, {message(content=FINE)[13:]}'))
            assert text_of(await ask(upstream, stream=False)) == "fine", odd


@pytest.mark.parametrize(
    "field",
    [
        "created_at", "model", "done_reason", "total_duration", "context", "thinking", "message.thinking",
        "message.images",
    ],
)  # fmt: skip
async def test_odd_fields_of_ollamas_lines(scripted: ScriptedUpstream, clients: Clients, field: str) -> None:
    where, _, name = field.rpartition(".")
    upstream = reach(scripted, clients, "ollama")
    for odd in ODD:
        beside, inside = ({}, {name: odd}) if where else ({name: odd}, {})
        scripted.on("m", lines(obj(message=obj(content=FINE, **inside), done="true", **beside)))
        chunks = await ask(upstream)
        assert (text_of(chunks), chunks[-1].finish_reason) == ("fine", "stop"), odd


@pytest.mark.parametrize(
    "content", ['["fi", {"text": "ne"}]', '[{"type": "text", "text": "fine"}, {"text": 5}, 7, null]']
)
@pytest.mark.parametrize("stream", [True, False])
async def test_text_in_parts(scripted: ScriptedUpstream, clients: Clients, content: str, stream: bool) -> None:
    scripted.on("m", events(delta('"stop"', content=content)) if stream else whole(message(content=content)))
    assert text_of(await ask(reach(scripted, clients, "openai"), stream=stream)) == "fine"


@pytest.mark.parametrize(
    "noise", ["", "null", "[]", "{}", '{"type": "ping"}', '{"choices": []}', '{"choices": null}', '{"choices": {}}']
)
async def test_events_that_say_nothing(scripted: ScriptedUpstream, clients: Clients, noise: str) -> None:
    scripted.on("m", events(noise, delta(content='"fi"'), noise, delta('"stop"', content='"ne"'), noise))
    assert text_of(await ask(reach(scripted, clients, "openai"))) == "fine"


@pytest.mark.parametrize("rest", ["{garbage", "<html>", obj(choices="[NaN"), "null"])
async def test_what_comes_after_the_finish_reason_cannot_lose_the_answer(
    scripted: ScriptedUpstream, clients: Clients, rest: str
) -> None:
    scripted.on(
        "m", events(delta('"stop"', content=FINE), rest, obj(usage='{"prompt_tokens": 7, "completion_tokens": 3}'))
    )
    chunks = await ask(reach(scripted, clients, "openai"))
    assert (text_of(chunks), usage_of(chunks)) == ("fine", Usage(7, 3))


@pytest.mark.parametrize(
    "body", ["null", "[]", "5", '"fine"', "{}", '{"choices": {}}', '{"choices": [5]}', '{"choices": [{"message": 5}]}']
)
async def test_what_is_needed_is_still_demanded(scripted: ScriptedUpstream, clients: Clients, body: str) -> None:
    scripted.on("m", whole(body), events(body))
    upstream = reach(scripted, clients, "openai")
    with pytest.raises(UpstreamProtocol):
        await ask(upstream, stream=False)
    scripted.on("m", Raw([b"data: " + body.encode() + b"\n\n"]))
    with pytest.raises(UpstreamProtocol):
        await ask(upstream)


@pytest.mark.parametrize("index", ["1000000000000000000", "1e30", '"0"', "-1", "null", "{}", "true", "[]", "0.5"])
@pytest.mark.parametrize("stream", [True, False])
async def test_calls_of_any_index(scripted: ScriptedUpstream, clients: Clients, index: str, stream: bool) -> None:
    calls = f'[{{"index": {index}, "id": "a", "function": {{"name": "f", "arguments": "{{}}"}}}}]'
    scripted.on("m", events(delta('"stop"', tool_calls=calls)) if stream else whole(message(tool_calls=calls)))
    assert calls_of(await ask(reach(scripted, clients, "openai"), stream=stream)) == {0: ("a", "f", "{}")}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_has_no_end_of_calls(
    scripted: ScriptedUpstream, clients: Clients, provider: str, stream: bool
) -> None:
    def calls(count: int) -> str:
        return json.dumps([{"index": n, "id": f"c{n}", "function": {"name": "f"}} for n in range(count)])

    def answer(count: int) -> Raw:
        if provider == "ollama":
            return lines(obj(message=obj(tool_calls=calls(count)), done="true"))
        return events(delta('"stop"', tool_calls=calls(count))) if stream else whole(message(tool_calls=calls(count)))

    scripted.on("m", answer(MAX_CALLS), answer(MAX_CALLS + 1))
    upstream = reach(scripted, clients, provider)
    assert len(calls_of(await ask(upstream, stream=stream))) == MAX_CALLS
    with pytest.raises(UpstreamProtocol, match="tool calls"):
        await ask(upstream, stream=stream)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_log_probabilities_are_kept_where_they_were_asked_for(
    scripted: ScriptedUpstream, clients: Clients, stream: bool, asked: bool
) -> None:
    token = '{"content": [{"token": "\\ud83d", "logprob": -0.1, "bytes": [240], "top_logprobs": []}]}'
    more = f', "logprobs": {token}'
    streamed, plain = delta('"stop"', content=FINE, more=more), message(f'"stop"{more}', content=FINE)
    scripted.on("m", events(streamed) if stream else whole(plain))
    request = ChatRequest("m", (Message("user", "How?"),), logprobs=asked)
    chunks = await ask(reach(scripted, clients, "openai"), request, stream=stream)
    kept = [chunk.logprobs for chunk in chunks if chunk.logprobs]
    assert text_of(chunks) == "fine"
    assert [each["content"][0]["token"] for each in kept] == (["\ufffd"] if asked else [])


@pytest.mark.parametrize(
    "deep", ['{"content": ' + "[" * 300 + "]" * 300 + "}", '{"content": [[]]}', "[1]", "0.5", '"x"']
)
async def test_log_probabilities_that_are_none(scripted: ScriptedUpstream, clients: Clients, deep: str) -> None:
    scripted.on("m", events(delta('"stop"', content=FINE, more=f', "logprobs": {deep}')))
    request = ChatRequest("m", (Message("user", "How?"),), logprobs=True)
    chunks = await ask(reach(scripted, clients, "openai"), request)
    assert text_of(chunks) == "fine"
    assert len(json.dumps([chunk.logprobs for chunk in chunks])) < 100


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        ('{"message": "it broke \\ud83d"}', "it broke \ufffd"),
        ('{"message": "it broke \udcff", "code": NaN}', "it broke \ufffd"),
        ('"it broke"', "it broke"),
        ('{"message": ["it", "broke"]}', ""),
        ("[1]", ""),
        ("true", ""),
    ],
)
async def test_errors_in_any_shape(
    scripted: ScriptedUpstream, clients: Clients, provider: str, error: str, words: str
) -> None:
    body = obj(error=error)
    scripted.on("m", whole(body), Status(500, encoded(body)))
    upstream = reach(scripted, clients, provider)
    with pytest.raises(LLMError, match="reported an error") as in_band:
        await ask(upstream, stream=False)
    with pytest.raises(UpstreamStatus) as refused:
        await ask(upstream, stream=False)
    assert in_band.value.message.endswith(words)
    assert refused.value.message.endswith(words)
