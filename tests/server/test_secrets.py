"""What an upstream says is foreign: whatever secret of ours it quotes, in whatever error, no client
reads it, and neither does the log (S2, S3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import cycle, product
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest

from tests.kit import Behaviour, ErrorInStream, Raw, Recorded, ScriptedUpstream, ServerProcess, Status

pytestmark = [pytest.mark.requirement("S2"), pytest.mark.requirement("S3")]

SECRETS = {
    "api_key": "Zq7vNpWx93LmTt5RkUeY21",
    "replica's api_key": "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "header": 'corp"gw\\77ab/19fe+02',
    "header with a scheme": "tok_in_a_header.4711",
    "field of the body": "body-token-0815",
    "redis password": "p4ss/w0rd+of=redis",
    "client key": "the-clients-very-own-key",
}
PROMPT = "a prompt that nobody else may read"

CONFIG = """
[storage]
url = "redis://:{redis}@127.0.0.1:1/0"

[[model]]
name = "m"
api_base = "{base}/v1"
api_key = "{api_key}"
retries = 0
extra_body = {{ auth = {{ token = "{body}" }} }}
headers = {{ "X-Gateway" = '{header}', "X-Token" = "Token {token}" }}

[[model]]
name = "several"
replicas = [{{ api_base = "{base}/v1", api_key = "{replica}" }}, {{ api_base = "{base}/v1", api_key = "{replica}" }}]
retries = 1
health_check_secs = 0.2

[[model]]
name = "o"
provider = "ollama"
api_base = "{base}"
retries = 0

[[model]]
name = "az"
provider = "azure"
api_base = "{base}"
api_key = "{api_key}"
retries = 0

[workflow-integration]
json = '''{{"analyzer": "m", "workers": ["m", "o", "several"], "selector": "m", "synthesizer": "m"}}'''
"""

ResponseFormat = Callable[[str], Behaviour]
SHAPES: dict[str, ResponseFormat] = {
    "401, OpenAI's": lambda key: Status(
        401, {"error": {"message": f"Incorrect API key provided: {key}. See our site."}}
    ),
    "400, an object": lambda key: Status(400, {"error": {"message": f"invalid token {key} for {PROMPT}"}}),
    "400, a string": lambda key: Status(400, {"error": f"{key} is not allowed"}),
    "403, plain text": lambda key: Status(403, f"access denied for {key}"),
    "404, a message": lambda key: Status(404, {"message": f"no deployment for {key}"}),
    "422, FastAPI's": lambda key: Status(422, {"detail": f"Unauthorized: {key}"}),
    "422, headers": lambda key: Status(422, {"error": {"message": str({"authorization": f"Bearer {key}", "x": key})}}),
    "400, the headers of Azure": lambda key: Status(400, {"error": {"message": f"api-key: {key} is revoked"}}),
    "429": lambda key: Status(429, {"error": {"message": f"key {key} is over quota"}}, {"retry-after": "3"}),
    "500, JSON in JSON": lambda key: Status(500, {"error": {"message": json.dumps({"key": key})}}),
    "500, JSON twice": lambda key: Status(500, {"error": {"message": json.dumps(json.dumps({"key": key}))}}),
    "502, a URL": lambda key: Status(502, {"error": {"message": f"GET /?key={quote(key, safe='')} failed"}}),
    "500, escaped": lambda key: Status(500, {"error": {"message": "".join(f"\\u{ord(each):04x}" for each in key)}}),
    "500, at the cut": lambda key: Status(500, {"error": {"message": "x" * 140 + " " + key + " " + "y" * 90}}),
    "200, whole": lambda key: Raw(
        [json.dumps({"error": {"message": f"{key} failed"}}).encode()], content_type="application/json"
    ),
    "in the stream, first": lambda key: ErrorInStream(0, f"key {key} is over quota"),
    "in the stream, later": lambda key: ErrorInStream(2, f"key {key} was revoked for {PROMPT}"),
}
DIALECTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}], "include_workflow": True},
    "/v1/completions": lambda text: {"prompt": text},
    "/v1/responses": lambda text: {"input": text},
    "/v1/messages": lambda text: {"messages": [{"role": "user", "content": text}], "max_tokens": 9},
    "/api/chat": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/api/generate": lambda text: {"prompt": text},
    "/v1/embeddings": lambda text: {"input": text},
    "/api/embed": lambda text: {"input": text},
}


def cases() -> Iterator[tuple[str, str, str, str, bool]]:
    """Secret, shape, path, model, and whether it is streamed.

    Each shape comes with every dialect, whole and streamed; the secrets take turns, so that each
    comes several times with every shape and with every dialect.
    """
    secrets, others = cycle(SECRETS), cycle(("several", "o", "az", "chorus"))
    for shape in SHAPES:
        for path in DIALECTS:
            embeds = "embed" in path
            yield next(secrets), shape, path, "m", False
            yield next(secrets), shape, path, "o" if embeds else "m", not embeds
            other, streamed = next(others), not embeds and next(secrets) < "d"
            yield next(secrets), shape, path, "several" if embeds else other, streamed


def failing(request: Recorded) -> Behaviour:
    """As the request's text says: `[SECRET|SHAPE]`."""
    named = re.search(rb"\[([^][|]+)\|([^][|]+)\]", request.body)
    secret, shape = named.groups() if named is not None else (b"api_key", b"429")
    return SHAPES[shape.decode()](SECRETS[secret.decode()])


@pytest.fixture(scope="module")
def loud() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def guarded(loud: ScriptedUpstream) -> Iterator[ServerProcess]:
    text = CONFIG.format(
        base=loud.base,
        api_key=SECRETS["api_key"],
        replica=SECRETS["replica's api_key"],
        header=SECRETS["header"],
        token=SECRETS["header with a scheme"],
        body=SECRETS["field of the body"],
        redis=quote(SECRETS["redis password"], safe=""),
    )
    with ServerProcess(text, env={"CHORUS_LOG": "debug"}) as process:
        yield process


def held(text: str) -> list[str]:
    """The secrets in `text`, also as JSON writes them."""
    return [name for name, secret in SECRETS.items() if secret in text or json.dumps(secret)[1:-1] in text]


async def test_no_secret_leaves(guarded: ServerProcess, loud: ScriptedUpstream) -> None:
    for model in ("m", "several", "o", "az", "/v1/models", "/openai/v1/models"):
        loud.on(model, failing)
    headers = {"authorization": f"Bearer {SECRETS['client key']}"}
    slots = anyio.CapacityLimiter(16)
    said: list[str] = []
    leaks: list[Any] = []
    async with httpx.AsyncClient(base_url=guarded.base, timeout=10, verify=False, headers=headers) as client:

        async def ask(secret: str, shape: str, path: str, model: str, streamed: bool) -> None:
            async with slots:
                body = DIALECTS[path](f"{PROMPT} [{secret}|{shape}]")
                answer = await client.post(path, json={"model": model, "stream": streamed, **body})
                text = f"{answer.headers} {answer.text}"
                leaks.extend((secret, shape, path, model, streamed, name) for name in held(text))
                said.append(text)

        async with anyio.create_task_group() as group:
            for case in cases():
                group.start_soon(ask, *case)
        assert leaks == []
        for path in ("/api/v1/workflows", "/api/v1/upstreams", "/metrics", "/ready"):
            assert held((await client.get(path)).text) == []
    assert held(guarded.log) == []
    assert PROMPT not in guarded.log
    # they were quoted, and not merely left out
    assert sum("[redacted]" in text for text in said) > len(said) * 2 // 3


def test_every_secret_comes_with_every_shape_and_with_every_dialect() -> None:
    found = list(cases())
    assert {(secret, shape) for secret, shape, *_ in found} == set(product(SECRETS, SHAPES))
    streams = {(secret, path) for secret, _, path, _, streamed in found if streamed}
    assert streams == set(product(SECRETS, [path for path in DIALECTS if "embed" not in path]))


async def test_the_log_has_our_own_sentences(guarded: ServerProcess, loud: ScriptedUpstream) -> None:
    for model in ("m", "several", "o", "az"):
        loud.on(model, Status(500, {"error": {"message": f"I cannot answer {PROMPT}"}}))
    async with httpx.AsyncClient(base_url=guarded.base, timeout=10, verify=False) as client:
        body = {"model": "chorus", **DIALECTS["/v1/chat/completions"](PROMPT)}
        answer = await client.post("/v1/chat/completions", json=body)
    assert PROMPT in answer.json()["error"]["message"]
    with anyio.fail_after(5):
        while "All 3 workers failed: m: upstream_status; o: upstream_status; several: " not in guarded.log:  # noqa: ASYNC110
            await anyio.sleep(0.01)  # another process writes it
    assert PROMPT not in guarded.log
