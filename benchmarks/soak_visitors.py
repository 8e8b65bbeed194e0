"""Clients of the soak: some stay for the answer and judge it, some leave in every phase, some send nonsense.

Whatever could grow a map without bound differs from visit to visit: keys, sessions, request ids, users, models and paths
that do not exist.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from .endings import DIALECTS, Dialect, ending
from .load import BadAnswer, Connection

PATIENCE_SECS = 30.0
"""A request that has not ended by then hangs: three times what the configuration allows one to take."""
TURNED_AWAY = frozenset({"queue_full", "queue_timeout"})


@dataclass(frozen=True)
class Target:
    """A model to ask. `answer` is its text where it is always the same, "{prompt}" where it repeats the prompt, "" where
    any will do. One that `may_fail` has a faulty upstream; of the others, being turned away is the only error allowed."""

    model: str
    answer: str = ""
    may_fail: bool = False


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
        return self.answers + sum(self.errors.values()) + sum(self.left.values()) + self.nonsense


class Visitor(Connection):
    """A connection whose client may leave: by itself after so many bytes of an answer, or when it is told."""

    def __init__(self, *, resets: bool = False) -> None:
        """`resets`: it leaves with a reset (RST) in place of a proper end (FIN)."""
        super().__init__()
        self.leave_at_byte: int | None = None
        self.has_left = False
        self._resets = resets

    def leave(self) -> None:
        """Close, whatever is going on."""
        self.has_left = True
        if self._transport is None:
            return
        if self._resets:
            self._transport.abort()
        else:
            self._transport.close()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.leave_at_byte is not None and len(self.body) >= self.leave_at_byte and not self.has_left:
            self.leave()


@dataclass(frozen=True)
class Ward:
    """Everything a visitor needs to know of the place: where it is, whose keys are good, and what to ask."""

    base: str
    keys: Sequence[str]
    targets: Sequence[Target]
    queued: Target
    """The model whose queue is nearly always full."""
    slow: Target
    """The model whose first token takes its time."""
    long: Target
    """The model that says much, slowly."""

    async def connect(self, *, resets: bool = False) -> Visitor:
        address = urlsplit(self.base)
        make = asyncio.get_running_loop().create_connection
        _, visitor = await make(lambda: Visitor(resets=resets), str(address.hostname), int(address.port or 80))
        return visitor


def http_request(
    path: str, body: Mapping[str, Any] | bytes, key: str, headers: Mapping[str, str] | None = None
) -> bytes:
    """A POST as bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


class Client:
    """One of many: visits until it is told to stop."""

    def __init__(self, ward: Ward, tally: Tally, seed: str) -> None:
        self._ward = ward
        self._tally = tally
        self._rng = Random(seed)

    async def visit_until(self, deadline: float) -> None:
        """Visit again and again until the loop's clock shows `deadline`; the last visit is brought to its end."""
        clock = asyncio.get_running_loop().time
        while clock() < deadline:
            visitor = await self._ward.connect(resets=self._rng.random() < 0.3)
            for _ in range(self._rng.randint(1, 8)):
                await self._visit(visitor)
                if visitor.has_left or not visitor.is_reusable or clock() >= deadline:
                    break
            visitor.close()

    async def _visit(self, visitor: Visitor) -> None:
        rng, ward = self._rng, self._ward
        share = rng.random()
        if share < 0.55:
            await self._ask(visitor, rng.choice(ward.targets))
        elif share < 0.60:
            await self._send_nonsense(visitor)
        elif share < 0.64:
            await self._leave_while_sending(visitor)
        elif share < 0.72:
            await self._ask(visitor, ward.queued, leave="in a queue", within=0.15)
        elif share < 0.80:
            await self._ask(visitor, ward.slow, leave="before the first token", within=0.25)
        elif share < 0.90:
            visitor.leave_at_byte = rng.randint(1, 2000)
            await self._ask(visitor, ward.long, leave="in mid-stream", stream=True)
            visitor.leave_at_byte = None
        else:
            await self._ask(visitor, rng.choice(ward.targets), leave="at any moment", within=0.5)

    async def _ask(
        self, visitor: Visitor, target: Target, *, leave: str = "", within: float = 0.0, stream: bool | None = None
    ) -> None:
        """Ask and judge the answer. With `leave` it may be left: `within` so many seconds, where they are given."""
        dialect = self._rng.choice(DIALECTS)
        prompt = f"{self._rng.getrandbits(64):x} is what I say"
        stream = self._rng.random() < 0.6 if stream is None else stream
        asked = {"model": target.model, **dialect.asks(prompt), "stream": stream}
        timer = None
        if within:
            timer = asyncio.get_running_loop().call_later(self._rng.uniform(0, within), visitor.leave)
        try:
            status = await self._exchange(visitor, self._request(dialect.path, asked))
            if status is None:
                self._tally.left[leave] += 1
                return
            self._judge(dialect, target, prompt, visitor, stream=stream)
        except BadAnswer as bad:
            self._tally.failures.append(f"{target.model}: {bad}")
        finally:
            if timer is not None:
                timer.cancel()

    def _judge(self, dialect: Dialect, target: Target, prompt: str, visitor: Visitor, *, stream: bool) -> None:
        got = ending(dialect, visitor.status, bytes(visitor.body), stream=stream)
        if got.code:
            self._tally.errors[got.code] += 1
            if got.code == "internal_error" or (not target.may_fail and got.code not in TURNED_AWAY):
                raise BadAnswer(f"{dialect.path} may not fail with {got.code}: {visitor.body[-300:]!r}")
            return
        self._tally.answers += 1
        expected = target.answer.format(prompt=prompt)
        if got.text != expected if expected else not got.text:
            raise BadAnswer(f"{dialect.path} {visitor.status} says {got.text!r} and not {expected!r}")

    async def _exchange(self, visitor: Visitor, request: bytes) -> int | None:
        """The status; None when the client has left. BadAnswer when it hangs, or the server closes the connection."""
        try:
            async with asyncio.timeout(PATIENCE_SECS):
                return await visitor.exchange(request)
        except TimeoutError:
            self._tally.hung.append(f"{request[:60]!r} status {visitor.status} so far {bytes(visitor.body[-200:])!r}")
            visitor.leave()
            return None
        except BadAnswer:
            if visitor.has_left:
                return None
            visitor.leave()
            raise

    async def _leave_while_sending(self, visitor: Visitor) -> None:
        asked = {"model": self._ward.slow.model, "messages": [{"role": "user", "content": "half of this is missing"}]}
        request = self._request("/v1/chat/completions", asked)
        visitor.write(request[: self._rng.randint(1, len(request) - 1)])
        await asyncio.sleep(self._rng.uniform(0, 0.05))
        visitor.leave()
        self._tally.left["while sending"] += 1

    async def _send_nonsense(self, visitor: Visitor) -> None:
        """Requests that are refused, each with a name of its own in it."""
        word, good = f"{self._rng.getrandbits(64):x}", self._ward.keys[0]
        chat, body = "/v1/chat/completions", {"model": self._ward.slow.model, "messages": []}
        request, status = self._rng.choice(
            [
                (http_request(chat, body, f"sk-chorus-{word}"), 401),
                (
                    http_request(chat, {**body, "model": word, "messages": [{"role": "user", "content": "?"}]}, good),
                    404,
                ),
                (http_request(f"/v1/{word}", body, good), 404),
                (http_request(chat, b"{" + word.encode(), good), 400),
                (http_request(chat, body, good, {"X-Priority": word}), 400),
            ]
        )
        self._tally.nonsense += 1
        try:
            got = await self._exchange(visitor, request)
            if got != status or not json.loads(visitor.body)["error"]["code"]:
                raise BadAnswer(f"{got} where {status} is expected: {visitor.body[-300:]!r}")
        except (BadAnswer, ValueError, LookupError) as bad:
            self._tally.failures.append(f"nonsense: {bad!r}")

    def _request(self, path: str, asked: Mapping[str, Any]) -> bytes:
        """A request with headers of which each may be new."""
        rng = self._rng
        word = f"{rng.getrandbits(64):x}"
        headers = {"X-Request-ID": word, "User-Agent": f"soak/{word}"}
        if rng.random() < 0.7:
            headers["X-Session-ID"] = f"session-{word}"
        if rng.random() < 0.3:
            headers["X-Priority"] = rng.choice(["interactive", "batch"])
        if rng.random() < 0.1:
            headers["X-Chorus-Include-Workflow"] = "true"
        if rng.random() < 0.1:
            headers["X-Chorus-Progress"] = "true"
        return http_request(path, asked, rng.choice(self._ward.keys), headers)
