"""Clients of the soak: some stay for the answer and judge it, some leave in every phase, some send
nonsense.

Whatever could grow a map without bound differs from visit to visit: sessions, request ids, models
and paths that do not exist, keys that nobody made.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

from benchmarks.load import BadAnswer, Connection

from .endings import DIALECTS, Dialect, ending
from .place import LONG, QUEUED, SLOW, TARGETS, Place, Target, request

PATIENCE_SECS = 30.0
"""A request that has not ended by then hangs: several times what the configuration allows one to
take.
"""
CHAT = "/v1/chat/completions"


@dataclass
class Tally:
    """What all clients got. `failures` says what no client may get; `hung` what did not end."""

    answers: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    nonsense: int = 0
    hung: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.answers + self.errors.total() + self.left.total() + self.nonsense


class Visitor(Connection):
    """A connection whose client may leave: by itself after so many bytes of an answer, or when
    `leave` is called.
    """

    def __init__(self, *, resets: bool = False) -> None:
        """`resets`: it leaves with a reset (RST) in place of a proper end (FIN)."""
        super().__init__()
        self.leave_at_byte: int | None = None
        self.has_left = False
        self._resets = resets

    @classmethod
    async def come(cls, base: str, *, resets: bool = False) -> Visitor:
        """A new connection."""
        address = urlsplit(base)
        make = asyncio.get_running_loop().create_connection
        _, visitor = await make(lambda: cls(resets=resets), str(address.hostname), int(address.port or 80))
        return visitor

    def leave(self) -> None:
        """Close, whatever is going on."""
        self.has_left = True
        if self._transport is not None and self._resets:
            self._transport.abort()
        else:
            self.close()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.leave_at_byte is not None and len(self.body) >= self.leave_at_byte and not self.has_left:
            self.leave()


class Client:
    """One of many: visits until it is stopped."""

    def __init__(self, place: Place, tally: Tally, seed: str) -> None:
        self._place = place
        self._tally = tally
        self._rng = Random(seed)

    async def visit_until(self, deadline: float) -> None:
        """Visit again and again until the loop's clock shows `deadline`.

        The last visit is brought to its end.
        """
        clock = asyncio.get_running_loop().time
        while clock() < deadline:
            visitor = await Visitor.come(self._place.base, resets=self._rng.random() < 0.3)
            for _ in range(self._rng.randint(1, 8)):
                await self._visit(visitor)
                # a client that asks again at once would be most of the load
                if visitor.status in (429, 503):
                    await asyncio.sleep(self._rng.uniform(0, 0.1))
                if visitor.has_left or not visitor.is_reusable or clock() >= deadline:
                    break
            visitor.close()

    async def _visit(self, visitor: Visitor) -> None:
        rng = self._rng
        share = rng.random()
        if share < 0.55:
            await self._ask(visitor, rng.choice(TARGETS))
        elif share < 0.60:
            await self._send_nonsense(visitor)
        elif share < 0.64:
            await self._leave_while_sending(visitor)
        elif share < 0.72:
            await self._ask(visitor, QUEUED, leave="in a queue", within=0.15)
        elif share < 0.80:
            await self._ask(visitor, SLOW, leave="before the first token", within=0.25)
        elif share < 0.90:
            visitor.leave_at_byte = rng.randint(1, 2000)
            await self._ask(visitor, LONG, leave="in mid-stream", stream=True)
            visitor.leave_at_byte = None
        else:
            await self._ask(visitor, rng.choice(TARGETS), leave="at any moment", within=0.5)

    async def _ask(
        self, visitor: Visitor, target: Target, *, leave: str = "", within: float = 0.0, stream: bool | None = None
    ) -> None:
        """Ask and judge the answer.

        With `leave` it may be left: `within` so many seconds, where they are given.
        """
        rng = self._rng
        dialect, key = rng.choice(DIALECTS), rng.choice(self._place.keys)
        prompt = f"{rng.getrandbits(64):x} is what I say"
        stream = rng.random() < 0.6 if stream is None else stream
        asked = {"model": target.model, **dialect.asks(prompt), "stream": stream}
        timer = None
        if within:
            timer = asyncio.get_running_loop().call_later(rng.uniform(0, within), visitor.leave)
        try:
            if await self._exchange(visitor, request(dialect.path, asked, key, **self._headers())) is None:
                self._tally.left[leave] += 1
            else:
                self._judge(visitor, dialect, target, key, prompt, stream=stream)
        except BadAnswer as bad:
            self._tally.failures.append(f"{target.model}: {bad}")
        finally:
            if timer is not None:
                timer.cancel()

    def _judge(
        self, visitor: Visitor, dialect: Dialect, target: Target, key: str, prompt: str, *, stream: bool
    ) -> None:
        """BadAnswer where this is neither the whole answer nor an error that may be."""
        got = ending(dialect, visitor.status, bytes(visitor.body), stream=stream)
        if got.code:
            self._tally.errors[got.code] += 1
            if got.code == "rate_limit_exceeded":
                is_fair = key in self._place.limited
            else:
                is_fair = got.code in {"queue_full", "queue_timeout"} or target.may_fail
            if got.code == "internal_error" or not is_fair:
                raise BadAnswer(f"{dialect.path} may not fail with {got.code}: {visitor.body[-300:]!r}")
            return
        self._tally.answers += 1
        expected = target.answer.format(prompt=prompt)
        if got.text != expected if expected else not got.text:
            raise BadAnswer(f"{dialect.path} {visitor.status} says {got.text!r} and not {expected!r}")

    async def _exchange(self, visitor: Visitor, sent: bytes) -> int | None:
        """The status.

        None when the client has left. BadAnswer when the server closes the connection.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECS):
                return await visitor.exchange(sent)
        except TimeoutError:
            self._tally.hung.append(f"{sent[:60]!r} status {visitor.status} so far {bytes(visitor.body[-200:])!r}")
            visitor.leave()
            return None
        except BadAnswer:
            if visitor.has_left:
                return None
            visitor.leave()
            raise

    async def _leave_while_sending(self, visitor: Visitor) -> None:
        asked = {"model": SLOW.model, "messages": [{"role": "user", "content": "half of this is missing"}]}
        sent = request(CHAT, asked, self._place.keys[0], **self._headers())
        visitor.write(sent[: self._rng.randint(1, len(sent) - 1)])
        await asyncio.sleep(self._rng.uniform(0, 0.05))
        visitor.leave()
        self._tally.left["while sending"] += 1

    async def _send_nonsense(self, visitor: Visitor) -> None:
        """Requests that are refused, each with a word of its own in it."""
        word, key = f"{self._rng.getrandbits(64):x}", self._place.keys[0]
        body = {"model": SLOW.model, "messages": [{"role": "user", "content": "?"}]}
        sent, status = self._rng.choice(
            [
                (request(CHAT, body, f"sk-chorus-{word}"), 401),
                (request(CHAT, {**body, "model": word}, key), 404),
                (request(f"/v1/{word}", body, key), 404),
                (request(CHAT, b"{" + word.encode(), key), 400),
                (request(CHAT, body, key, X_Priority=word), 400),
            ]
        )
        self._tally.nonsense += 1
        try:
            got = await self._exchange(visitor, sent)
            if got != status or not json.loads(visitor.body)["error"]["code"]:
                raise BadAnswer(f"{got} where {status} is expected: {visitor.body[-300:]!r}")
        except (BadAnswer, ValueError, LookupError) as bad:
            self._tally.failures.append(f"nonsense: {bad!r}")

    def _headers(self) -> dict[str, str]:
        """Of which each may be new."""
        rng = self._rng
        word = f"{rng.getrandbits(64):x}"
        sometimes = [
            (0.95, "X_Session_ID", f"session-{word}"),
            (0.3, "X_Priority", rng.choice(["interactive", "batch"])),
            (0.1, "X_Chorus_Include_Workflow", "true"),
            (0.1, "X_Chorus_Progress", "true"),
        ]
        return {"X_Request_ID": word, **{name: value for share, name, value in sometimes if rng.random() < share}}
