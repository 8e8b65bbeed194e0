"""Playing a behaviour on a connection: pacing, framing, silence and breakage.

(What is said: `render.py`.)
"""

from __future__ import annotations

import asyncio
import json
from typing import assert_never

from .connection import Exchange
from .render import Dialect, Reply, reply_to
from .script import Behaviour, Cut, Empty, ErrorInStream, Hang, Raw, Say, Status

JSON_TYPE = {"content-type": "application/json"}


async def perform(behaviour: Behaviour, exchange: Exchange, dialect: Dialect) -> None:
    """Play `behaviour` as the answer to `exchange`.

    Cancelled from outside when the client leaves.
    """
    match behaviour:
        case Say():
            await _say(behaviour, exchange, dialect)
        case Status():
            await _status(behaviour, exchange, dialect)
        case Hang():
            await _hang(behaviour, exchange, dialect)
        case Cut():
            await _cut(behaviour, exchange, dialect)
        case ErrorInStream():
            await _error_in_stream(behaviour, exchange, dialect)
        case Raw():
            await _raw(behaviour, exchange)
        case Empty():
            await whole(exchange, 200, b"", {"content-type": dialect.content_type})
        case _:
            assert_never(behaviour)


async def whole(exchange: Exchange, status: int, body: bytes, headers: dict[str, str]) -> None:
    """A complete answer with a length."""
    await exchange.write(exchange.head(status, headers, length=len(body)) + body)


async def _say(say: Say, exchange: Exchange, dialect: Dialect) -> None:
    reply = reply_to(exchange.request, say)
    if say.gate is not None and say.gate_at == 0:
        await say.gate.wait()
    if say.first_token:
        await asyncio.sleep(say.first_token)
    if dialect.wants_stream():
        await _stream(say, reply, exchange, dialect)
        return
    if say.gap:
        await asyncio.sleep(say.gap * (len(dialect.pieces(reply)) - 1))
    if say.gate is not None:
        await say.gate.wait()
    await whole(exchange, 200, dialect.whole(reply), {**JSON_TYPE, **say.headers})


async def _stream(say: Say, reply: Reply, exchange: Exchange, dialect: Dialect) -> None:
    head = exchange.head(200, {"content-type": dialect.content_type, **say.headers})
    pieces, closing = dialect.pieces(reply), dialect.closing(reply)
    if say.burst:
        body = b"".join(map(exchange.framed, [*pieces, closing]))
        await exchange.write(head + body + exchange.ending())
        return
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(say.gap)
        if say.gate is not None and number and number == say.gate_at:
            await say.gate.wait()
        await exchange.write((b"" if number else head) + exchange.framed(piece))
    if say.gate is not None and say.gate_at >= len(pieces):
        await say.gate.wait()
    await exchange.write(exchange.framed(closing) + exchange.ending())


async def _status(status: Status, exchange: Exchange, dialect: Dialect) -> None:
    if status.delay:
        await asyncio.sleep(status.delay)
    body, headers = status.body, JSON_TYPE
    if body is None:
        body = dialect.refusal(status.code, f"the script says {status.code}")
    elif isinstance(body, str):
        body, headers = body.encode(), {"content-type": "text/plain"}
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    await whole(exchange, status.code, body, {**headers, **status.headers})


async def _hang(hang: Hang, exchange: Exchange, dialect: Dialect) -> None:
    if hang.stage != "connect":
        await _begin(exchange, dialect, hang.text, hang.pieces if hang.stage == "body" else 0)
    await asyncio.get_running_loop().create_future()


async def _cut(cut: Cut, exchange: Exchange, dialect: Dialect) -> None:
    if cut.clean and not dialect.wants_stream():
        body = dialect.whole(reply_to(exchange.request, Say(cut.text)))
        await whole(exchange, 200, body[: len(body) // 2], JSON_TYPE)
        return
    if cut.after_pieces is not None:
        await _begin(exchange, dialect, cut.text, cut.after_pieces)
    if cut.clean:
        await exchange.write(exchange.ending())
        return
    if cut.reset:
        await asyncio.sleep(cut.settle)
    exchange.leave(reset=cut.reset)


async def _error_in_stream(error: ErrorInStream, exchange: Exchange, dialect: Dialect) -> None:
    if not dialect.wants_stream():
        await whole(exchange, 200, dialect.refusal(200, error.message), JSON_TYPE)
        return
    await _begin(exchange, dialect, error.text, error.after_pieces)
    await exchange.write(exchange.framed(dialect.error(error.message)) + exchange.ending())


async def _begin(exchange: Exchange, dialect: Dialect, text: str, pieces: int) -> None:
    """The head and the first `pieces` pieces.

    Of a non-streaming answer the head and half the body.
    """
    reply = reply_to(exchange.request, Say(text))
    if not dialect.wants_stream():
        body = dialect.whole(reply)
        sent = body[: len(body) // 2] if pieces else b""
        await exchange.write(exchange.head(200, JSON_TYPE, length=len(body)) + sent)
        return
    await exchange.write(exchange.head(200, {"content-type": dialect.content_type}))
    for piece in dialect.pieces(reply)[:pieces]:
        await exchange.write(exchange.framed(piece))


async def _raw(raw: Raw, exchange: Exchange) -> None:
    if raw.head:
        headers = {"content-type": raw.content_type, **raw.headers}
        await exchange.write(exchange.head(raw.status, headers, until_close=raw.close))
    for number, chunk in enumerate(raw.chunks):
        if number:
            await asyncio.sleep(raw.gap)
        await exchange.write(exchange.framed(chunk))
    await exchange.write(exchange.ending())
    if raw.close or not raw.head:
        exchange.leave()
