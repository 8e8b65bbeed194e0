"""One client's bytes never hold the others: each shape of text, at each route that reads it, with a
bound on how long another request waits and on memory.
"""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.pulse import Pulse, peak_mib, reset_peak

MIB = 1024 * 1024
SIZE = 8 * MIB
LARGEST = 49 * MIB
"""A little less than the default `[server] max_body_bytes`."""

SHARED_CORES = 2.0
"""The suite runs three tests at a time on two cores, whose caches and memory they share."""
WAIT_SECS = 0.1 * SHARED_CORES
LARGEST_WAIT_SECS = 0.4 * SHARED_CORES
SLACK_MIB = 48
"""Memory that a small text may cost: `wirejson.MAX_VALUES` values, and what the allocator keeps."""
STUCK_SECS = 10.0
"""A server that waits and does not compute answers nobody for longer than any load of the machine
explains.
"""

CHAT = "/v1/chat/completions"
ROUTES = {
    "/v1/responses": "input",
    "/v1/messages": "messages",
    "/v1/completions": "prompt",
    "/api/chat": "messages",
    "/api/generate": "prompt",
    "/v1/embeddings": "input",
}
"""Each route but `CHAT`, whose shapes are all tried, with the field that it reads."""


def filled(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[: size - size % len(unit)]


VALUES = {
    "a text": lambda size: json.dumps(filled("word ", size)),
    "chinese": lambda size: '"' + filled("中文", size // 3) + '"',
    "escapes": lambda size: '"' + filled("\\n\\u4e2d", size) + '"',
    "escaped quotes": lambda size: '"' + filled('\\"', size) + '"',
    "an unclosed string": lambda size: '"' + filled('\\"', size),
    "brackets in a text": lambda size: '"' + filled("[{,", size) + '"',
    "arrays": lambda size: "[" + filled("[],", size) + "1]",
    "objects": lambda size: "[" + filled("{},", size) + "1]",
    "numbers": lambda size: "[" + filled("1,", size) + "1]",
    "long numbers": lambda size: "[" + filled("123456789012345.5,", size) + "1]",
    "one long number": lambda size: filled("1", size),
    "short texts": lambda size: "[" + filled('"a",', size) + "1]",
    "deep": lambda size: filled("[", size),
    "closers": lambda size: filled("]", size),
    "commas": lambda size: filled(",", size),
    "quotes": lambda size: filled('"', size),
    "keys": lambda size: "{" + filled('"a":1,', size) + '"b":1}',
    "blanks": lambda size: filled(" ", size) + "1",
    "as many values as are read": lambda size: "[" + "[]," * 200_000 + json.dumps(filled("x", size)) + "]",
}
FIELDS = ("tools", "model", "stop", "response_format", "options")
"""Fields of `CHAT` beside `messages` and one that is unknown, for which all shapes are tried."""


SLOW = pytest.mark.very_slow
"""Of half the pairs, each of whose parts is in another pair, and of half the largest bodies."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ScriptedUpstream.in_thread() as upstream:
        upstream.on("m", Say("fine"))
        config = f'[[model]]\nname = "m"\napi_base = "{upstream.api_base}"\n'
        with ServerProcess(config) as process, httpx.Client(base_url=process.base) as client:
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
            assert client.post(CHAT, json=body).status_code == 200
            yield process


def body_with(field: str, value: str) -> bytes:
    """A chat request in which `field` has this JSON text as its value."""
    fields = {"model": '"m"', "messages": '[{"role":"user","content":"x"}]', field: value}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode()


def ask(server: ServerProcess, path: str, body: bytes, bound: float = WAIT_SECS) -> tuple[int, float, float]:
    """The status, the longest wait of others in seconds, and the growth of memory in MiB.

    A wait is CPU time of the server, which other processes lengthen only by what they share with
    it, the core's caches and the memory. One above `bound` is measured again, up to five times.
    """
    for _ in range(5):
        reset_peak(server.pid)
        before = peak_mib(server.pid)
        with Pulse(server.base, server.pid) as pulse, httpx.Client(base_url=server.base, timeout=60) as client:
            status = client.post(path, content=body).status_code
        grown = peak_mib(server.pid) - before
        assert pulse.longest <= STUCK_SECS
        if pulse.worst <= bound:
            break
    return status, pulse.worst, grown


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        pytest.param(shape, field, marks=SLOW if place % 2 else ())
        for number, shape in enumerate(VALUES)
        for place, field in enumerate(("messages", "unknown"), number)
    ],
)
def test_no_shape_of_a_field_holds_the_others(server: ServerProcess, shape: str, field: str) -> None:
    status, waited, grown = ask(server, CHAT, body_with(field, VALUES[shape](SIZE)))
    assert status in (200, 400, 413)
    assert waited <= WAIT_SECS
    assert grown <= 4 * SIZE / MIB + SLACK_MIB


MESSAGES = {
    "short": lambda size: filled('{"role":"user","content":""},', size),
    "a long text": lambda size: message(filled("\\n\\u4e2d", size)) + ",",
}


def message(text: str, more: str = "") -> str:
    return f'{{"role":"user","content":"{text}"{more}}}'


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
@pytest.mark.parametrize("size", [SIZE // 8, SIZE // 2 - 200, SIZE])
@pytest.mark.parametrize("shape", MESSAGES)
def test_messages_that_are_read_in_vain_hold_nobody(server: ServerProcess, shape: str, size: int, path: str) -> None:
    """The last one has a field that has to be looked at, so that all are read again."""
    last = message("x", ',"name":"ann"')
    messages = f"[{MESSAGES[shape](size)}{last}]"
    status, waited, grown = ask(server, path, body_with("messages", messages))
    assert status in (200, 400)
    assert waited <= WAIT_SECS
    assert grown <= 4 * SIZE / MIB + SLACK_MIB


@pytest.mark.parametrize(
    ("path", "field", "shape"),
    [
        pytest.param(path, field, shape, marks=SLOW if place % 2 else ())
        for number, path in enumerate(ROUTES)
        for other, shape in enumerate(["a text", "escaped quotes", "as many values as are read"], number)
        for place, field in enumerate((ROUTES[path], "unknown"), other)
    ],
)
def test_no_route_is_held(server: ServerProcess, path: str, field: str, shape: str) -> None:
    status, waited, _ = ask(server, path, body_with(field, VALUES[shape](SIZE // 2)))
    assert status in (200, 400, 413)
    assert waited <= WAIT_SECS


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_is_held(server: ServerProcess, field: str) -> None:
    for shape in ("a text", "as many values as are read"):
        status, waited, _ = ask(server, CHAT, body_with(field, VALUES[shape](SIZE)))
        assert status in (200, 400, 404, 413), (shape, status)
        assert waited <= WAIT_SECS, (shape, waited)


MANY = {
    "messages": json.dumps([{"role": "user", "content": "x"}] * 60_000),
    "calls": json.dumps(
        [
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    for n in range(20_000)
                ],
            },
        ]
    ),
    "parts": json.dumps([{"role": "user", "content": [{"type": "text", "text": "x"}] * 60_000}]),
}


@pytest.mark.parametrize("what", MANY)
def test_many_small_elements_hold_nobody(server: ServerProcess, what: str) -> None:
    status, waited, _ = ask(server, CHAT, body_with("messages", MANY[what]))
    assert status in (200, 400)
    assert waited <= WAIT_SECS


@pytest.mark.parametrize(
    "shape",
    [
        "a text",
        "arrays",
        "as many values as are read",
        pytest.param("escapes", marks=SLOW),
        pytest.param("brackets in a text", marks=SLOW),
        pytest.param("an unclosed string", marks=SLOW),
    ],
)
def test_the_largest_body_that_is_read(server: ServerProcess, shape: str) -> None:
    body = body_with("unknown", VALUES[shape](LARGEST))
    status, waited, grown = ask(server, CHAT, body, LARGEST_WAIT_SECS)
    assert status in (200, 400)
    assert waited <= LARGEST_WAIT_SECS
    assert grown <= 4 * LARGEST / MIB + SLACK_MIB
