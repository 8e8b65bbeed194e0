"""A replica that breaks in the middle of its answer, in every dialect: the stream ends with that
dialect's own error event, which says why; it is not simply cut, and nothing says that the answer is
complete (A5, L3).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.faults.matrix import FAULTS, IDLE
from tests.kit import ScriptedUpstream
from tests.kit.leaks import nothing_left
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("A5"), pytest.mark.requirement("L3")]
BROKEN = [name for name, fault in FAULTS.items() if fault.received]


@dataclass(frozen=True)
class Dialect:
    """`code` is where the last frame has the error's code, `event` its name.

    `ends` are what only a whole answer has.
    """

    path: str
    ends: tuple[str, ...]
    code: str = "error.code"
    event: str | None = None
    accept: str = "*/*"


# fmt: off
DIALECTS = {
    #                  route                    what must not stand in it                 where the code is      event
    "chat":       Dialect("/v1/chat/completions", ("[DONE]", '"finish_reason":"stop"')),
    "completion": Dialect("/v1/completions",      ("[DONE]", '"finish_reason":"stop"')),
    "responses":  Dialect("/v1/responses",        ("[DONE]", "response.completed"),        "response.error.code", "response.failed"),
    "messages":   Dialect("/v1/messages",         ("[DONE]", "message_stop", "end_turn"),  "error.code",          "error"),
    "ollama":     Dialect("/api/chat",            ('"done":true',),                        "code"),
    "generate":   Dialect("/api/generate",        ('"done":true',),                        "code"),
    "ollama-sse": Dialect("/api/chat",            ("[DONE]", '"done":true'), accept="text/event-stream"),
}
# fmt: on


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        for name in BROKEN:
            scripted.on(name, FAULTS[name].does)
        yield scripted


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream) -> Iterator[Running]:
    models = "".join(f'[[model]]\nname = "{name}"\napi_base = "{upstream.api_base}"\n' for name in BROKEN)
    with running(f"{models}[timeouts]\nfirst_byte_timeout_secs = {IDLE}\nidle_timeout_secs = {IDLE}\n") as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_is_left(served: Running, upstream: ScriptedUpstream) -> Iterator[None]:
    with nothing_left(served.loop, [upstream]):
        yield


def frames(response: httpx.Response) -> list[tuple[str | None, str]]:
    """Each frame's event name and data; the last one must be closed as all are."""
    if response.headers["content-type"].startswith("application/x-ndjson"):
        *lines, nothing = response.text.split("\n")
        found = [(None, line) for line in lines]
    else:
        *blocks, nothing = response.text.split("\n\n")
        found = [frame(block) for block in blocks]
    assert nothing == ""
    return found


def frame(block: str) -> tuple[str | None, str]:
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    return fields.get("event"), fields["data"]


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("name", DIALECTS)
async def test_a_stream_that_breaks_says_so_in_its_last_frame(served: Running, name: str, fault: str) -> None:
    dialect = DIALECTS[name]
    body = {"model": fault, "stream": True, "max_tokens": 50, "prompt": "How?", "input": "How?"}
    body["messages"] = [{"role": "user", "content": "How?"}]  # type: ignore[assignment]
    async with httpx.AsyncClient(base_url=served.base, timeout=15, verify=False) as client:
        answer = await client.post(dialect.path, json=body, headers={"accept": dialect.accept})
    assert answer.status_code == 200
    *before, (event, data) = frames(answer)
    last = json.loads(data)
    for part in dialect.code.split("."):
        last = last[part]
    assert (event, last) == (dialect.event, FAULTS[fault].code)
    assert any(FAULTS[fault].received in said for _, said in before)
    assert not any(FAULTS[fault].code in said for _, said in before)
    assert [end for end in dialect.ends if end in answer.text] == []
