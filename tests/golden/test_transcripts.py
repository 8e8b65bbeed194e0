"""Byte-exact transcripts: one stream and one whole body per dialect, and what a broken stream looks
like (A1, A2, A3, A4, A5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chorus import wirejson
from chorus.errors import UpstreamProtocol
from chorus.events import Delta, Event, RunFailed, RunFinished, RunStarted
from chorus.server.dialects import DIALECTS, Dialect, ResponseContext
from chorus.server.http.framing import NDJSON, SSE
from chorus.types import Answer, ToolCall, ToolPiece
from chorus.usage import Usage

HERE = Path(__file__).parent
NOW = 1_795_000_000.25
UNIQUE = "0123456789abcdef01234567"
TEXT = "Hello 好🙂\u2028\u0085end"
USAGE = Usage(11, 7, cached_tokens=3, reasoning_tokens=2)
STARTED = RunStarted("wf_1", "req_1", "chorus", "chorus", NOW)
CALL = ToolCall("call_1", "weather", '{"city":"北京"}')

SPOKEN: Sequence[Event] = (
    STARTED,
    Delta(("0",), 0.2, "a worker's words, which nobody hears"),
    Delta(("synthesizer",), 0.5, reasoning="hm", choice=0),
    Delta(("synthesizer",), 0.6, "Hello 好", choice=0),
    Delta(("synthesizer",), 0.7, "🙂\u2028\u0085end", choice=0),
    RunFinished(1.5, (Answer(TEXT, "hm", usage=USAGE),), USAGE, 0.5),
)
CALLED: Sequence[Event] = (
    STARTED,
    Delta(("0",), 0.5, tool_calls=(ToolPiece(0, "call_1", "weather", ""),), choice=0),
    Delta(("0",), 0.6, tool_calls=(ToolPiece(0, arguments='{"city":"北'),), choice=0),
    Delta(("0",), 0.7, tool_calls=(ToolPiece(0, arguments='京"}'),), choice=0),
    RunFinished(1.5, (Answer("", "", (CALL,), "tool_calls", USAGE),), USAGE, 0.5),
)
BROKEN: Sequence[Event] = (
    STARTED,
    Delta(("0",), 0.5, "Half an", choice=0),
    RunFailed(0.9, UpstreamProtocol("Upstream 'glm' broke off in the middle of its answer")),
)
IN_TURN: Sequence[Event] = (
    STARTED,
    Delta(("0",), 0.2, reasoning="好", choice=0),
    Delta(("0",), 0.4, "Both\u2029:", choice=0),
    Delta(("0",), 0.5, tool_calls=(ToolPiece(0, "call_1", "weather", ""),), choice=0),
    Delta(("0",), 0.6, tool_calls=(ToolPiece(1, "call_2", "time", ""), ToolPiece(0, arguments='{"city":')), choice=0),
    Delta(("0",), 0.7, tool_calls=(ToolPiece(1, arguments="{}"), ToolPiece(0, arguments='"北京"}')), choice=0),
    RunFinished(
        1.5,
        (Answer("Both\u2029:", "好", (CALL, ToolCall("call_2", "time", "{}")), "tool_calls", USAGE),),
        USAGE,
        0.2,
    ),
)
"""Everything in one answer, and parallel calls that an upstream wrote in turns."""
SIGNED = re.compile(rb"chorus1\.[\w=-]+")
"""Reasoning that a client hands back: each process has a key of its own."""
RUNS = {"mixed": IN_TURN, "spoken": SPOKEN, "called": CALLED, "broken": BROKEN}


def request(dialect: Dialect) -> dict[str, Any]:
    messages = [{"role": "user", "content": "How?"}]
    own: dict[str, Any] = {
        "/v1/completions": {"prompt": "How?"},
        "/v1/responses": {"input": "How?"},
        "/api/generate": {"prompt": "How?"},
        "/v1/chat/completions": {"messages": messages, "stream_options": {"include_usage": True}},
    }.get(dialect.path, {"messages": messages})
    return {"model": "chorus", "stream": True, **own}


def context_of(dialect: Dialect, *, traced: bool = True, **more: Any) -> ResponseContext:
    asked = dialect.parse({**request(dialect), **more})
    trace = (lambda: {"workflow_id": "wf_1"}) if traced else None
    return ResponseContext(dialect.id_prefix + UNIQUE, "req_1", NOW, asked, dialect.error_style, trace)


def transcript(
    dialect: Dialect, events: Sequence[Event], context: ResponseContext | None = None, *, sse: bool = False
) -> bytes:
    framer = SSE(dialect.done) if sse or dialect.framing == "sse" else NDJSON()
    encoder = dialect.encoder(context or context_of(dialect))
    frames = b"".join(framer.frame(frame) for event in events for frame in encoder.encode(event))
    return frames + (framer.end() if isinstance(events[-1], RunFinished) else b"")


def compare(name: str, found: bytes) -> None:
    path = HERE / name
    found = SIGNED.sub(b"chorus1.SIGNED", found)
    if os.environ.get("CHORUS_WRITE_GOLDEN") == "1":
        path.write_bytes(found)
    assert found == path.read_bytes()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.requirement("A5")
def test_streams(dialect: Dialect, run: str) -> None:
    found = transcript(dialect, RUNS[run])
    compare(f"{dialect.path.strip('/').replace('/', '-')}.{run}.txt", found)
    # whatever splits lines as Unicode does, as ollama's Python client, must see the lines that we
    # meant
    assert found.decode().splitlines() == found.decode().split("\n")[: len(found.decode().splitlines())]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
@pytest.mark.parametrize("run", ["mixed", "spoken", "called"])
@pytest.mark.requirement("A5")
def test_whole_bodies(dialect: Dialect, run: str) -> None:
    body = wirejson.encode(dialect.whole(context_of(dialect), RUNS[run]))
    compare(f"{dialect.path.strip('/').replace('/', '-')}.{run}.json", body + b"\n")


def objects(found: bytes) -> list[dict[str, Any]]:
    """The JSON objects of a stream, in their order."""
    lines = (line.removeprefix(b"data: ") for line in found.split(b"\n"))
    return [wirejson.decode(line) for line in lines if line.startswith(b"{")]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
@pytest.mark.parametrize("run", ["mixed", "spoken", "called"])
@pytest.mark.requirement("W9")
def test_the_trace_is_in_the_last_object_and_changes_nothing_else(dialect: Dialect, run: str) -> None:
    plain = objects(transcript(dialect, RUNS[run], context_of(dialect, traced=False)))
    traced = objects(transcript(dialect, RUNS[run]))
    assert traced[-1].pop("workflow") == {"workflow_id": "wf_1"}
    if dialect.path == "/v1/responses":
        assert traced[-1]["response"].pop("workflow") == {"workflow_id": "wf_1"}
    assert traced == plain


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.requirement("A2")
def test_usage_only_where_it_was_asked_for(path: str, wanted: bool) -> None:
    [dialect] = [dialect for dialect in DIALECTS if dialect.path == path]
    context = context_of(dialect, traced=False, stream_options={"include_usage": wanted})
    name = "with-usage" if wanted else "without-usage"
    compare(f"{path.strip('/').replace('/', '-')}.{name}.txt", transcript(dialect, SPOKEN, context))


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("run", ["spoken", "called"])
@pytest.mark.requirement("A1")
def test_ollama_as_server_sent_events(path: str, run: str) -> None:
    [dialect] = [dialect for dialect in DIALECTS if dialect.path == path]
    compare(f"{path.strip('/').replace('/', '-')}.{run}-sse.txt", transcript(dialect, RUNS[run], sse=True))
    assert objects(transcript(dialect, RUNS[run], sse=True)) == objects(transcript(dialect, RUNS[run]))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.requirement("A5")
def test_nothing_is_heard_of_the_workers(dialect: Dialect, run: str) -> None:
    assert b"nobody hears" not in transcript(dialect, RUNS[run])


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
@pytest.mark.requirement("A5")
def test_a_broken_stream_claims_no_success(dialect: Dialect) -> None:
    found = transcript(dialect, BROKEN)
    for claim in (b"[DONE]", b'"done":true', b'"finish_reason":"', b"response.completed", b"message_stop"):
        assert claim not in found
