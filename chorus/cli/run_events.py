"""The events of a run as `POST /api/v1/run` writes them, from a server or from this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import httpx
import msgspec

from chorus.certificates import trusted_by
from chorus.config import Config
from chorus.errors import ChorusError
from chorus.llm.transport.sse import SSEDecoder
from chorus.server.dialects.native.events import event_fields
from chorus.service import Chorus
from chorus.types import ChatRequest, Message

RunEvent = dict[str, Any]
"""One event: `type` says which (docs/API.md)."""

_CONNECT_SECS: Final = 10.0
_SILENCE_SECS: Final = 60.0
"""Without an event or a heartbeat: the server is gone."""
_PREFERRED: Final = "chorus"


async def ask_here(config: Config, question: str, model: str | None, show: Callable[[RunEvent], None]) -> None:
    """Ask in this process, and call `show` with each event of the run.

    Raises:
        UnknownModel: nothing has that name.
    """
    chorus = Chorus(config)
    try:
        name = model or next(iter(chorus.snapshot.plans))
        request = ChatRequest(name, (Message("user", question),))
        async with chorus.run((request,), request_id="ask", unique="ask", streaming=True) as journal:
            async for batch in journal.read():
                for event in batch:
                    show(event_fields(event, "ask"))
    finally:
        await chorus.aclose()


async def ask_server(
    url: str, key: str | None, question: str, model: str | None, show: Callable[[RunEvent], None]
) -> None:
    """Ask the server at `url`, and call `show` with each event of the run. A cancellation cancels
    the run.

    Raises:
        ChorusError: the server does not answer, or with an error, or breaks off.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    # without the proxies of the environment, of which httpx cannot use those that speak SOCKS
    client = httpx.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=httpx.Timeout(_SILENCE_SECS, connect=_CONNECT_SECS),
        transport=httpx.AsyncHTTPTransport(verify=trusted_by(url)),
        trust_env=False,
    )
    try:
        async with client:
            body = {"model": model or await _first_model(client), "question": question}
            async with client.stream("POST", "/api/v1/run", json=body) as response:
                if response.status_code != 200:
                    raise _error(await response.aread(), url)
                async with aclosing(_decoded(response)) as events:
                    async for event in events:
                        show(event)
                        if event.get("type") in ("run.finished", "run.failed"):
                            return
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise ChorusError(f"no Chorus answers at {url}: {str(problem) or type(problem).__name__}") from problem
    raise ChorusError(f"the server at {url} broke off before the run was over")


async def _first_model(client: httpx.AsyncClient) -> str:
    """Return the name of what is asked where no model is named."""
    response = await client.get("/v1/models")
    if response.status_code != 200:
        raise _error(response.content, str(client.base_url))
    names = [entry["id"] for entry in _decode(response.content, str(client.base_url)).get("data", ())]
    if not names:
        raise ChorusError("this key may ask for no model")
    return _PREFERRED if _PREFERRED in names else str(names[0])


async def _decoded(response: httpx.Response) -> AsyncGenerator[RunEvent]:
    decoder = SSEDecoder()
    async for data in response.aiter_bytes():
        for event in decoder.feed(data):
            yield _decode(event, str(response.url))


def _decode(data: bytes, url: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as problem:
        raise ChorusError(f"no Chorus answers at {url}: it sent what is no JSON object") from problem


def _error(data: bytes, url: str) -> ChorusError:
    """Return the error that a server answered with."""
    error = _decode(data, url).get("error")
    return ChorusError(str(error["message"]) if isinstance(error, Mapping) else f"{url}: {error}")
