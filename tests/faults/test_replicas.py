"""One replica of one, two or three is broken, in every way, streaming or not: until the first byte another one takes the call, after
it the client is told; nothing hangs, nothing is left behind (D1, L3, L4)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.kit import Cut, ErrorInStream, Hang, Raw, Say, ScriptedUpstream, Status, free_port, unaccepting
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("D1")
GOOD = "the good answer"
BEGINNING = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'


@dataclass(frozen=True)
class Fault:
    """A way to be broken. `status` is what the client of a single replica gets, by whether it streams; 200 is an error event after
    the first word where it does. `tries`: how often that replica is asked; always 3 where nobody has heard anything yet."""

    behaviour: Any
    status: tuple[int, int]
    tries: int = 3


FAULTS: dict[str, Fault] = {
    "refused": Fault("refused", (502, 502), 0),
    "connect-hangs": Fault("hangs", (504, 504), 0),
    "429": Fault(Status(429, headers={"retry-after": "0"}), (429, 429)),
    "429-for-long": Fault(Status(429, headers={"retry-after": "60"}), (429, 429), 1),
    "500": Fault(Status(500), (502, 502)),
    "503": Fault(Status(503), (502, 502)),
    "silence": Fault(Hang("headers"), (504, 504)),
    "no-answer": Fault(Hang("connect"), (504, 504)),
    "hangs-up": Fault(Cut(after_pieces=None), (502, 502)),
    "malformed": Fault(Raw([b"data: {garbage\n\n"]), (502, 502)),
    "empty": Fault(Raw([b""]), (502, 502)),
    "error-in-200": Fault(ErrorInStream(), (502, 502)),
    "cut": Fault(Cut(after_pieces=1), (502, 200), 1),
    "no-end": Fault(Raw([BEGINNING]), (502, 200), 1),
}
AFTER_THE_FIRST_WORD = ("cut", "no-end")


def name_of(fault: str, count: int) -> str:
    return f"{fault}-of-{count}"


@pytest.fixture(scope="module")
def upstreams() -> Iterator[list[ScriptedUpstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ScriptedUpstream.in_thread()) for _ in range(3)]


@pytest.fixture(scope="module")
def served(upstreams: list[ScriptedUpstream]) -> Iterator[Running]:
    """A model for each fault and number of replicas; the first replica is the broken one."""
    with unaccepting() as hanging:
        entries = []
        for fault in FAULTS:
            first = {"refused": f"http://127.0.0.1:{free_port()}/v1", "hangs": f"{hanging}/v1"}.get(
                str(FAULTS[fault].behaviour), upstreams[0].api_base
            )
            for count in (1, 2, 3):
                addresses = [first, *(each.api_base for each in upstreams[1:count])]
                entries.append(
                    f'[[model]]\nname = "{name_of(fault, count)}"\nreplicas = {json.dumps(addresses)}\n'
                    'balance = "round_robin"\n'
                )
        times = "[workflow.timeouts]\nfirst_token_timeout_secs = 0.25\nworker_timeout_secs = 5\n"
        with running("\n".join([*entries, times])) as server:
            yield server


@pytest.fixture
async def client(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.base, timeout=15, verify=False) as client:
        yield client


async def state_of(client: httpx.AsyncClient, model: str) -> list[dict[str, Any]]:
    told = (await client.get("/api/v1/upstreams")).json()["upstreams"]
    return next(each["replicas"] for each in told if each["model"] == model)


async def asked(client: httpx.AsyncClient, model: str, *, stream: bool) -> tuple[int, str, bool]:
    """The status, the text, and whether the answer came to its end."""
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "How?"}]}
    response = await client.post("/v1/chat/completions", json=body)
    if not stream or response.status_code != 200:
        told = response.json()
        text = told["choices"][0]["message"]["content"] if "choices" in told else told["error"]["code"]
        return response.status_code, text, "choices" in told
    events = [json.loads(line[6:]) for line in response.text.split("\n") if line.startswith("data: {")]
    text = "".join(each["choices"][0]["delta"].get("content", "") for each in events if "choices" in each)
    assert ("error" in events[-1]) != response.text.endswith("data: [DONE]\n\n")
    return response.status_code, text, "error" not in events[-1]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_replica(
    client: httpx.AsyncClient, upstreams: list[ScriptedUpstream], fault: str, count: int, stream: bool
) -> None:
    model, how = name_of(fault, count), FAULTS[fault]
    broken, *well = upstreams
    for each in upstreams:
        each.forget()
        each.on(model, Say(GOOD))
    if not isinstance(how.behaviour, str):
        broken.on(model, how.behaviour)
    before = await state_of(client, model)
    answers = [await asked(client, model, stream=stream) for _ in range(1 if count == 1 else 3)]
    if count == 1:
        [(status, _, is_whole)] = answers
        assert (status, is_whole) == (how.status[stream], False)
        assert len(broken.calls(model)) == (3 if fault in AFTER_THE_FIRST_WORD and not stream else how.tries)
    elif fault in AFTER_THE_FIRST_WORD and stream:
        for status, text, is_whole in answers:
            assert status == 200 if is_whole else status == how.status[stream]
            assert text == GOOD if is_whole else GOOD not in text  # never two answers glued together
    else:
        assert answers == [(200, GOOD, True)] * 3
        assert sum(len(each.calls(model)) for each in well) == 3
    for each in upstreams:
        await each.wait_idle()
    after = await state_of(client, model)
    assert [replica["in_flight"] for replica in after] == [0] * count
    failed = after[0]["errors"] - before[0]["errors"]
    is_neutral = fault in ("429", "429-for-long", "503")
    assert (failed == 0) == (is_neutral or after[0]["calls"] == before[0]["calls"])
    assert all(replica["errors"] == 0 and replica["state"] == "closed" for replica in after[1:])


@pytest.mark.requirement("L4")
async def test_when_every_replica_is_broken_the_client_is_told_once(
    client: httpx.AsyncClient, upstreams: list[ScriptedUpstream]
) -> None:
    model = name_of("500", 3)
    for each in upstreams:
        each.forget()
        each.on(model, Status(500))
    status, code, _ = await asked(client, model, stream=True)
    assert (status, code) == (503, "upstream_unavailable")
    assert sum(len(each.calls(model)) for each in upstreams) == 3
