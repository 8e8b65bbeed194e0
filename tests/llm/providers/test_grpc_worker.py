"""The provider `grpc` against a scripted worker on a real socket: what it sends, what it reads, and
what each fault comes to (I1, L2, L3).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import grpc
import msgspec
import pytest

from chorus.errors import (
    ConfigError,
    ContentFiltered,
    LLMError,
    UnsupportedFeature,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
)
from chorus.llm.address import ModelAddress, ReplicaAddress, Settings
from chorus.llm.base import MAX_CALLS, Call, Chunk, ConnectionClosed
from chorus.llm.embed import EmbedCall
from chorus.llm.pool.retry import is_retryable
from chorus.llm.provider import Provider
from chorus.llm.providers import grpc_provider, grpc_worker, worker_answers
from chorus.llm.transport.clients import WATCHED, Clients
from chorus.types import ChatRequest, Image, Message, Sampling, Text, ToolCall, Tools
from chorus.usage import Usage
from tests.kit import free_port, unaccepting
from tests.kit.scripted_worker import Drops, Fails, Hangs, Pieces, ScriptedWorker

pytestmark = [pytest.mark.requirement(name) for name in ("I1", "L2", "L3")]
QUESTION = ChatRequest("m", (Message("user", "How?"),))
ROOT = Path(__file__).resolve().parents[3]
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def shared() -> Iterator[ScriptedWorker]:
    with ScriptedWorker.in_thread() as worker:
        yield worker


@pytest.fixture
def worker(shared: ScriptedWorker) -> ScriptedWorker:
    shared.forget()
    return shared


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    await clients.aclose()


def reached(clients: Clients, api_base: str, **fields: Any) -> Provider:
    at = ReplicaAddress(api_base, fields.pop("api_key", None))
    return grpc_provider.grpc(ModelAddress("m", "grpc", (at,), **fields), at, clients)


async def ask(provider: Provider, request: ChatRequest = QUESTION, **fields: Any) -> list[Chunk]:
    async with provider.upstream.open(Call(request, **fields)) as chunks:
        return [chunk async for chunk in chunks]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# --- what is sent


async def test_a_request_goes_out_with_all_that_belongs_to_it(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("inner", Pieces(["Hello"]))
    provider = reached(clients, worker.api_base, api_key="sk-secret", headers={"X-Team": "blue"}, model="inner")
    headers = {"x-request-id": "req_7", "traceparent": "00-1-2-01"}
    request = ChatRequest(
        "m",
        (
            Message("user", (Text("What?"), Image("data:image/png;base64,AAAA", "low"))),
            Message("assistant", "", "thinking", (ToolCall("c1", "f", "{}"),)),
            Message("tool", "42", tool_call_id="c1"),
        ),
        Sampling(0.5, 0.9, 10, ("END",), 7),
        Tools([{"type": "function", "function": {"name": "f"}}]),
        "required",
        response_format={"type": "json_object"},
        reasoning_effort="low",
        logprobs=True,
        top_logprobs=2,
        ollama_options={"top_k": 3},
        extra={"x_other": 1},
    )
    chunks = await ask(provider, request, headers=headers, deadline=anyio.current_time() + 20)
    assert (text_of(chunks), chunks[-1].finish_reason) == ("Hello", "stop")
    assert [chunk.usage for chunk in chunks if chunk.usage] == [Usage(3, 2)]

    [asked] = worker.asked
    sent = asked.request
    assert (sent.model, sent.request_id) == ("inner", "req_7")
    assert asked.metadata.items() >= {**headers, "authorization": "Bearer sk-secret", "x-team": "blue"}.items()
    assert asked.remaining == pytest.approx(20, abs=1)
    assert [message.role for message in sent.conversation.messages] == ["user", "assistant", "tool"]
    assert sent.conversation.messages[0].parts[1].image.detail == "low"
    assert sent.conversation.messages[1].tool_calls[0].name == "f"
    assert (sent.sampling.temperature, sent.sampling.top_k, list(sent.sampling.stop)) == (0.5, 3, ["END"])
    assert json.loads(sent.response_format_json) == {"type": "json_object"}
    assert json.loads(sent.openai_json) == {
        "tool_choice": "required",
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "x_other": 1,
    }


async def test_without_a_limit_there_is_no_deadline(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", Pieces(["Hello"]))
    with anyio.fail_after(5):  # it may move while the answer comes
        await ask(reached(clients, worker.api_base))
    assert worker.asked[0].remaining is None or worker.asked[0].remaining > 1e6


async def test_extra_body_is_laid_over_the_request_and_omit_leaves_fields_out(
    clients: Clients, worker: ScriptedWorker
) -> None:
    worker.on("m", Pieces(["Hello"]))
    extra_body = {"temperature": 0, "max_completion_tokens": 9, "chat_template_kwargs": {"think": False}, "min_p": 0.1}
    provider = reached(
        clients, worker.api_base, extra_body=extra_body, settings=Settings(omit=frozenset({"seed", "tools", "name"}))
    )
    request = ChatRequest(
        "m",
        (Message("user", "How?", name="Ann"), Message("system", "Be kind.")),
        Sampling(1.0, max_tokens=5, seed=3),
        Tools([{"type": "function"}]),
        extra={"chat_template_kwargs": {"date": "now"}},
    )
    warnings: list[str] = []
    await ask(provider, request, warn=warnings.append)
    sent = worker.asked[0].request
    assert (sent.sampling.temperature, sent.sampling.max_tokens, sent.sampling.min_p) == (0, 9, 0.1)
    assert json.loads(sent.openai_json) == {"chat_template_kwargs": {"date": "now", "think": False}}
    assert not sent.sampling.HasField("seed")
    assert (sent.tools_json, [message.role for message in sent.conversation.messages]) == (b"", ["system", "user"])
    assert not sent.conversation.messages[1].HasField("name")
    assert warnings == [f"'{name}' is left out: it is configured so." for name in ("name", "seed", "tools")]


async def test_what_does_not_go_over_the_wire_is_named(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", Pieces(["Hello"]))
    request = ChatRequest(
        "m",
        (Message("user", "Once"),),
        prompt="Once",
        keep_alive="5m",
        ollama_options={"num_ctx": 4096, "min_p": 0.1},
        generate_options={"raw": True, "template": "{{ .Prompt }}"},
    )
    warnings: list[str] = []
    headers = {"x-good": "yes", "x-bad": "é", "X_Bin-bin": "no", "x-line": "a\tb"}
    await ask(reached(clients, worker.api_base), request, headers=headers, warn=warnings.append)
    assert worker.asked[0].request.prompt == "Once"
    assert worker.asked[0].metadata["x-good"] == "yes"
    assert {warning.split("'")[1] for warning in warnings} == {
        *("options.num_ctx", "template", "keep_alive", "x-bad", "X_Bin-bin", "x-line")
    }


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"prompt": (1, 2)}, "prompt"), ({"sampling": Sampling(seed=2**64 - 1)}, "seed")],
)
async def test_what_a_worker_cannot_take_is_refused_with_its_field(
    clients: Clients, worker: ScriptedWorker, changes: Mapping[str, Any], param: str
) -> None:
    with pytest.raises(UnsupportedFeature, match="An inference worker takes") as raised:
        await ask(reached(clients, worker.api_base), msgspec.structs.replace(QUESTION, **changes))
    assert raised.value.param == param
    assert not worker.asked


@pytest.mark.parametrize(
    "fields", [{"proxy": "http://proxy:3128"}, {"extra_body": {"temperature": "hot"}}, {"extra_body": {"tools": 1}}]
)
async def test_a_model_that_cannot_be_reached_so_is_a_configuration_error(
    clients: Clients, fields: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r'\[\[model\]\] "m"'):
        reached(clients, "grpc://localhost:1", **fields)


def _ran(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


SLOW = pytest.mark.very_slow  # a second of CPU each


@pytest.mark.parametrize("package", ["grpc", *(pytest.param(name, marks=SLOW) for name in ("grpc_health", "google"))])
def test_without_the_extra_a_configuration_that_needs_it_says_so(tmp_path: Path, package: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[[model]]\nname = "m"\nprovider = "grpc"\napi_base = "grpc://localhost:1"\n', encoding="utf-8")
    program = f"import sys; sys.modules[{package!r}] = None; from chorus.cli import main; main()"
    done = _ran(program, "check", "--config", str(path))
    assert done.returncode == 2
    assert """[[model]] "m" provider "grpc": needs the package""" in done.stderr
    assert "pip install 'chorus-llm[grpc]'" in done.stderr


# --- what is read


PIECE = {"index": -5, "id": "c1", "name": "f", "arguments": '{"a"'}
LOGPROBS = {"content": [{"token": "a", "logprob": -0.5}]}


async def test_every_kind_of_piece_is_read(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on(
        "m",
        Pieces(
            [
                {"reasoning": "Hm."},
                {
                    "text": "<think>more</think>Hello",
                    "openai_json": json.dumps({"logprobs": LOGPROBS, "x": 1}).encode(),
                },
                {"tool_calls": [PIECE]},
                {"tool_calls": [{"index": -5, "arguments": ":1}"}, {"index": 2**31 - 1, "name": "g"}]},
            ]
        ),
    )
    chunks = await ask(reached(clients, worker.api_base), msgspec.structs.replace(QUESTION, logprobs=True))
    assert text_of(chunks) == "Hello"
    assert "".join(chunk.reasoning for chunk in chunks) == "Hm.more"
    pieces = [(piece.index, piece.name, piece.arguments) for chunk in chunks for piece in chunk.tool_calls]
    assert pieces == [(0, "f", '{"a"'), (0, None, ":1}"), (1, "g", ""), (1, None, "{}")]
    assert [chunk.logprobs for chunk in chunks if chunk.logprobs] == [LOGPROBS]
    assert [chunk.extra for chunk in chunks if chunk.extra] == [{"x": 1}]
    assert chunks[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 4}, Usage(2, 4, estimated=True)),
        ({"prompt_tokens": 5, "completion_tokens": 4, "cached_tokens": 9}, Usage(5, 4, 5)),
        ({"prompt_tokens": -5, "completion_tokens": 2**60}, None),
        ({}, None),
    ],
)
async def test_counts_are_believed_as_far_as_they_can_be(
    clients: Clients, worker: ScriptedWorker, counts: dict[str, int], usage: Usage | None
) -> None:
    worker.on("m", Pieces(["Hello"], {"finish_reason": 1, "usage": counts}))
    chunks = await ask(reached(clients, worker.api_base))
    assert [chunk.usage for chunk in chunks if chunk.usage] == ([usage] if usage else [])


async def test_each_message_is_a_sign_of_life(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", Pieces([{}, {}, "Hello"]))
    seen: list[int] = []
    token = WATCHED.set(lambda: seen.append(1))
    try:
        await ask(reached(clients, worker.api_base))
    finally:
        WATCHED.reset(token)
    assert len(seen) >= 3


async def test_an_unknown_finish_reason_is_a_finish_reason(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", Pieces(["Hello"], {"finish_reason": 99}))
    assert (await ask(reached(clients, worker.api_base)))[-1].finish_reason == "stop"


# --- faults

FLOOD = [
    {"tool_calls": [{"index": number, "name": "f"} for number in range(start, start + 500)]} for start in (0, 500, 1000)
]
TOO_LONG = Pieces([{"text": "x" * (1 << 20), "reasoning": "y" * (64 << 20)}])
EMPTY = 200
"""The bound on messages that say nothing, here: as many as are allowed take 3 s of CPU."""

# fmt: off
FAULTS: dict[str, tuple[Any, type[LLMError], str, bool]] = {
    # what                 the worker does                                      error                reason            tried again
    "unavailable":        (Fails(Code.UNAVAILABLE),                             ConnectionClosed,    "the reason",     True),
    "stopping":           (Fails(Code.UNAVAILABLE, metadata=[("chorus-code", "server_stopping")]),
                                                                                UpstreamStatus,      "not available",  True),
    "invalid":            (Fails(Code.INVALID_ARGUMENT),                        UpstreamRefused,     "the reason",     False),
    "out of range":       (Fails(Code.OUT_OF_RANGE),                            UpstreamRefused,     "the reason",     False),
    "unimplemented":      (Fails(Code.UNIMPLEMENTED),                           UpstreamRefused,     "the reason",     False),
    "not found":          (Fails(Code.NOT_FOUND),                               UpstreamStatus,      "NOT_FOUND",      False),
    "unauthenticated":    (Fails(Code.UNAUTHENTICATED),                         UpstreamStatus,      "UNAUTHENTICATED", False),
    "busy":               (Fails(Code.RESOURCE_EXHAUSTED),                      UpstreamRateLimited, "is busy",        True),
    "internal":           (Fails(Code.INTERNAL),                                UpstreamStatus,      "INTERNAL",       True),
    "unknown":            (Fails(Code.UNKNOWN),                                 UpstreamStatus,      "UNKNOWN",        True),
    "cancelled":          (Fails(Code.CANCELLED),                               UpstreamStatus,      "CANCELLED",      True),
    "its own deadline":   (Fails(Code.DEADLINE_EXCEEDED),                       UpstreamTimeout,     "took too long",  True),
    "filtered":           (Fails(Code.INVALID_ARGUMENT, metadata=[("chorus-code", "content_filter")]),
                                                                                ContentFiltered,     "filter",         False),
    "fails mid-stream":   (Fails(Code.UNAVAILABLE, pieces=["Hel"]),             UpstreamProtocol,    "broke off",      True),
    "drops":              (Drops(),                                             ConnectionClosed,    "closed",         True),
    "drops mid-stream":   (Drops(["Hel"]),                                      UpstreamProtocol,    "broke off",      True),
    "no finish reason":   (Pieces(["Hello"], None),                             UpstreamProtocol,    "without a finish reason", True),
    "nothing at all":     (Pieces([], None),                                    UpstreamProtocol,    "without a finish reason", True),
    "all filtered":       (Pieces([], {"finish_reason": 4}),                    ContentFiltered,     "filter",         False),
    "goes on":            (Pieces([{"text": "a", "finish_reason": 1}, "b"]),    UpstreamProtocol,    "went on",        True),
    "garbage":            (Pieces([{"openai_json": b"{garbage"}]),              UpstreamProtocol,    "is no JSON",     True),
    "no object":          (Pieces([{"openai_json": b"[1]"}]),                   UpstreamProtocol,    "no JSON object", True),
    "too deep":           (Pieces([{"openai_json": b'{"a":' * 300 + b"1" + b"}" * 300}]),
                                                                                UpstreamProtocol,    "nested deeper",  True),
    "garbage in a call":  (Pieces([{"tool_calls": [{"name": "f", "openai_json": b"?"}]}]),
                                                                                UpstreamProtocol,    "is no JSON",     True),
    "a flood of calls":   (Pieces(FLOOD),                                       UpstreamProtocol,    f"more than {MAX_CALLS}", True),
    "empty for ever":     (Pieces([{}], repeats=EMPTY + 50),                    UpstreamProtocol,    "say nothing",    True),
    "a huge message":     (TOO_LONG,                                            UpstreamProtocol,    "too large",      True),
}
# fmt: on


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_fault_comes_to(
    clients: Clients, worker: ScriptedWorker, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_answers, "MAX_EMPTY", EMPTY)
    step, kind, reason, again = FAULTS[fault]
    worker.on("m", step)
    provider = reached(clients, worker.api_base)
    with pytest.raises(LLMError, match=reason) as raised:
        await ask(provider)
    assert type(raised.value) is kind
    assert is_retryable(raised.value) is again
    worker.on("m", Pieces(["Hello"]))
    await _back(provider)


async def _back(provider: Provider) -> None:
    """Wait until the worker answers: channels of one address share how long they wait after a
    refused connection.
    """
    with anyio.fail_after(5):
        while True:
            with contextlib.suppress(LLMError):
                assert text_of(await ask(provider)) == "Hello"
                return


async def test_a_full_queue_says_when_to_come_again(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", Fails(Code.RESOURCE_EXHAUSTED, metadata=[("retry-after", "2.5")]))
    with pytest.raises(UpstreamRateLimited) as raised:
        await ask(reached(clients, worker.api_base))
    assert raised.value.retry_after == 2.5


async def test_a_request_beyond_the_workers_limit_is_refused_and_not_busy(clients: Clients) -> None:
    request = ChatRequest("m", (Message("user", "x" * 2000),))
    with (
        ScriptedWorker.in_thread(options=[("grpc.max_receive_message_length", 1000)]) as small,
        pytest.raises(UpstreamRefused, match="does not take a request of this size"),
    ):
        await ask(reached(clients, small.api_base), request)


async def test_a_refused_connection_fails_at_once_and_a_worker_that_is_back_is_used(clients: Clients) -> None:
    with ScriptedWorker.in_thread() as worker:
        worker.on("m", Pieces(["Hello"]))
        provider = reached(clients, worker.api_base)
        assert text_of(await ask(provider)) == "Hello"
        worker.run(worker.stop())
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(UpstreamConnect, match="cannot be reached"):
                await ask(provider)
            assert time.monotonic() - began < 1
        worker.run(worker.start())
        with anyio.fail_after(2):
            await _back(provider)


async def test_connecting_takes_no_longer_than_it_may(clients: Clients) -> None:
    with unaccepting() as base:
        provider = reached(clients, base.replace("http", "grpc"))
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(UpstreamConnect, match=r"within 0\.3 s"):
                await ask(provider, connect_timeout=0.3)
            assert 0.25 < time.monotonic() - began < 1.5


async def test_a_name_that_is_none_is_a_typed_error(clients: Clients) -> None:
    with pytest.raises(UpstreamConnect, match="cannot be reached"):
        await ask(reached(clients, f"grpc://no-such-host.invalid:{free_port()}"), connect_timeout=5)


async def test_a_deadline_that_passes_is_the_callers_own(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", Hangs(["Hel"]))
    with anyio.move_on_after(0.3) as scope:
        await ask(reached(clients, worker.api_base), deadline=anyio.current_time() + 0.3)
    assert scope.cancelled_caught
    await _until(lambda: not worker.in_flight)


async def test_leaving_cancels_the_call_at_the_worker(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", Hangs(["Hel"]))
    provider = reached(clients, worker.api_base)
    async with provider.upstream.open(Call(QUESTION)) as chunks:
        assert (await anext(chunks)).text == "Hel"
    await _until(lambda: worker.cancelled == 1 and not worker.in_flight)


async def test_thousands_of_cancelled_calls_leave_a_channel_that_works(
    clients: Clients, worker: ScriptedWorker
) -> None:
    worker.on("m", Hangs())
    provider = reached(clients, worker.api_base)
    for _ in range(20):
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask, provider)
            await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    await _until(lambda: not worker.in_flight)
    worker.on("m", Pieces(["Hello"]))
    assert text_of(await ask(provider)) == "Hello"
    assert len(asyncio.all_tasks()) < 5


async def test_a_channel_that_is_closed_is_no_cancellation(worker: ScriptedWorker) -> None:
    worker.on("m", Hangs(["Hel"]))
    clients = Clients()
    provider = reached(clients, worker.api_base)
    async with provider.upstream.open(Call(QUESTION)) as chunks:
        await anext(chunks)
        await clients.aclose()
        with pytest.raises(UpstreamConnect, match="was closed"):
            await anext(chunks)


async def test_a_stream_that_does_not_end_after_its_finish_reason_is_whole(
    clients: Clients, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_worker, "LINGER_SECS", 0.2)
    worker.on("m", Pieces([{"text": "Hello", "finish_reason": 1}], {}, repeats=1))
    assert text_of(await ask(reached(clients, worker.api_base))) == "Hello"


# --- health and embeddings


async def test_a_check_asks_for_the_model(clients: Clients, worker: ScriptedWorker) -> None:
    provider = reached(clients, worker.api_base)
    assert provider.check is not None
    await asyncio.to_thread(worker.run, worker.set_health("m", serving=True))
    await provider.check(5)
    await asyncio.to_thread(worker.run, worker.set_health("m", serving=False))
    with pytest.raises(LLMError, match="is not serving"):
        await provider.check(5)
    other = reached(clients, worker.api_base, model="other")
    assert other.check is not None
    with pytest.raises(LLMError, match="does not serve the model"):
        await other.check(5)
    away = reached(clients, f"grpc://127.0.0.1:{free_port()}")
    assert away.check is not None
    with pytest.raises(UpstreamConnect):
        await away.check(5)


async def _embed(provider: Provider, *inputs: Any) -> Any:
    assert provider.embedder is not None
    return await provider.embedder.embed(EmbedCall(inputs, 2, {"x-request-id": "req_8"}, extra={"user": "u"}))


async def test_embeddings(clients: Clients, worker: ScriptedWorker) -> None:
    worker.on("m", [[0.5, 1.0], [2.0, 3.0]])
    provider = reached(clients, worker.api_base, extra_body={"x": 1})
    made = await _embed(provider, "a", "b")
    assert (made.vectors, made.usage) == ([[0.5, 1.0], [2.0, 3.0]], Usage(7))
    sent = worker.asked[0].request
    assert (list(sent.inputs), sent.dimensions, sent.request_id) == (["a", "b"], 2, "req_8")
    assert json.loads(sent.openai_json) == {"user": "u", "x": 1}
    with pytest.raises(UpstreamProtocol, match="2 embeddings for 1 inputs"):
        await _embed(provider, "a")
    with pytest.raises(UnsupportedFeature, match="not token numbers"):
        await _embed(provider, "a", [1, 2])
    worker.on("m", Fails(Code.UNIMPLEMENTED, "The model does not embed."))
    with pytest.raises(UpstreamRefused, match="does not embed"):
        await _embed(provider, "a")


async def _until(holds: Any) -> None:
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110 (the worker has a loop of its own)
            await anyio.sleep(0.005)
