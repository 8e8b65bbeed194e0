"""HTTP/1.1 as httptools parses it and uvicorn serves it, with a clock for every state of a
connection, bounds on all that is read, and errors in our own shape (S3, A5).

A connection is in one of these states; `due` is the clock of the state, `Connections` looks at it
once a second:

    silent      nothing but line ends has come since it was opened    request_secs, then it is closed
    reading     a part of a request has come                          request_secs, then 408
    answering   a whole request has come; what comes behind it        none: the run has limits of its own
                is held back until it is answered
    idle        the last request is answered                          idle_secs, then it is closed

Whatever the state: while bytes wait to be taken by the client, `progress` runs, and the connection
is aborted after write_secs without any.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import urllib.parse
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from chorus.cancellation import CancelSignal
from chorus.errors import ChorusError, HeadersTooLarge, InvalidRequest, RequestTimeout
from chorus.server.http.body_writer import BODY_WRITER, BodyWriter
from chorus.server.http.connections import AbortReason, Connections
from chorus.server.http.context import request_id_of
from chorus.server.http.exchange import Exchange, UnchunkedExchange
from chorus.server.http.progress import Progress, has_left
from chorus.server.http.refusal import refusal
from chorus.server.http.wire import DISCONNECT

MAX_HEADER_BYTES: Final = 64 * 1024
"""Of one request: its request line, headers, trailers, and one line of a chunk's extensions."""

_PIECE_BYTES: Final = 16 * 1024
"""Most bytes that are parsed at a time, but for those that certainly belong to a body."""


class HttpProtocol(HttpToolsProtocol):
    """One connection. httptools itself reads headers without end, and waits for them, and for a
    body, without end.
    """

    progress: Progress
    disconnect: CancelSignal
    cycle: Exchange

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self.due = math.inf
        self._answering: Exchange | None = None
        """The request whose answer is under way. `cycle`, uvicorn's name, is the newest one of
        which the headers are whole."""
        self._is_receiving = False
        """Whether a request has begun to come and is not whole."""
        self._has_headers = False
        """Whether its headers are whole."""
        self._is_refused = False
        """Whether nothing more is read as HTTP.

        The connection ends with the answers that are due.
        """
        self._refusal: ChorusError | None = None
        """What is answered when the answers that are under way are out."""
        self._held = bytearray()
        """What has come behind a whole request that is not answered yet."""
        self._resuming = False
        self._header_bytes = 0
        self._silent_bytes = 0
        self._body_bytes = self._timed_bytes = 0
        """Bytes of the body that have come; those that had when `due` was set."""

    # --- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self.disconnect = CancelSignal()
        self.progress = Progress(transport)
        self.due = self.loop.time() + self._connections.bounds.request_secs
        self._connections.add(self, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected, or we have."""
        self._connections.discard(self)
        super().connection_lost(exc)
        if self._answering is not None:
            self._answering.disconnect()
        self.pipeline.clear()
        self._held.clear()
        self.disconnect.set()

    def data_received(self, data: bytes) -> None:
        """Read what the client sent, or hold it back until the requests before it are answered.

        Reading goes on meanwhile, since a client that leaves is not noticed without.
        """
        self._read(data)
        if self._is_behind:
            self.due = math.inf

    def pause_writing(self) -> None:
        """The client takes less than is written."""
        super().pause_writing()
        self._connections.buffer_changed(self, self.loop)

    def resume_writing(self) -> None:
        """The client has taken most of what was written."""
        super().resume_writing()
        self._connections.buffer_changed(self, self.loop)

    # --- for Connections

    def overdue(self) -> None:
        """Act on the clock that has run out."""
        bounds = self._connections.bounds
        if not self._is_receiving:
            self.due = math.inf
            self.transport.close()
        elif self.flow.read_paused or self._body_bytes - self._timed_bytes >= bounds.body_rate * bounds.request_secs:
            # where it is not read, the client is held back by us: by an upstream that takes a form
            # slowly
            self._timed_bytes = self._body_bytes
            self.due = self.loop.time() + bounds.request_secs
        else:
            self._refuse(RequestTimeout(f"The request did not arrive within {bounds.request_secs:g} s."))

    def check_held_back(self) -> None:
        """Close a connection that is not read for now and whose client has left.

        An upstream may take an upload slowly, and an event loop that does not read gets no event
        when the client leaves.
        """
        if self.flow.read_paused and has_left(self.transport):
            self.transport.abort()

    def abort(self, reason: AbortReason) -> None:
        """Close at once; the run of a request that is being answered is cancelled, as when the
        client had disconnected."""
        exchange = self._answering or self.cycle
        request_id = request_id_of(exchange.scope) if exchange is not None else None  # type: ignore[arg-type]
        self._connections.aborted(reason, waiting_bytes=self.progress.waiting, request_id=request_id)
        self.transport.abort()

    # --- reading

    @property
    def _is_behind(self) -> bool:
        """Whether what comes now belongs behind a whole request that is not answered yet."""
        return self._answering is not None and not self._answering.more_body

    def _read(self, data: bytes) -> None:
        """Parse `data` piece by piece; hold back what follows a request that is being answered.

        httptools does not say how much of a piece stands behind its last callback. Such bytes are
        not counted, so that a piece is short: an endless line is refused before it has
        MAX_HEADER_BYTES + _PIECE_BYTES, however it is cut into packets.
        """
        start, size = 0, len(data)
        view = memoryview(data)
        while start < size:
            if self._is_refused or self._is_behind:
                self._held += view[start:]
                if len(self._held) > HIGH_WATER_LIMIT:
                    self.flow.pause_reading()
                return
            end = start + _PIECE_BYTES
            if end < size:
                end = max(end, start + self._rest_of_body())
            self._feed(view[start:end])
            start = end

    def _rest_of_body(self) -> int:
        """Return how many bytes of the body are certainly to come: 0 where it has chunks.

        They are parsed in one piece: an image of 10 MB is copied twice less than in small ones.
        """
        if not self._has_headers:
            return 0
        lengths = (int(value) for name, value in self.headers if name == b"content-length")
        return next(lengths, 0) - self._body_bytes

    def _feed(self, data: memoryview) -> None:
        """Parse one piece.

        httptools calls back when a line is complete, so that a line without an end is counted by
        the bytes that come without any callback. An offer to change the protocol (`Upgrade: h2c`,
        which Java's client makes with every request) is ignored (RFC 9110, 7.8); httptools takes
        what follows it for the other protocol's, so that another parser has to read the body.
        """
        self._silent_bytes += len(data)
        try:
            self.parser.feed_data(data)
            self._check_size()
        except httptools.HttpParserUpgrade as offer:
            self._resume(data[offer.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ChorusError) else _invalid())
        except httptools.HttpParserError:
            self._refuse(_invalid())
        except HeadersTooLarge as error:
            self._refuse(error)

    def _resume(self, rest: memoryview) -> None:
        """Go on with the body of the request whose headers have just been read."""
        framing = [line for line in self.headers if line[0] in (b"content-length", b"transfer-encoding")]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in framing)
        self.cycle.more_body = True
        self.cycle.message_event.clear()
        self.parser = httptools.HttpRequestParser(self)
        self._resuming = self._is_receiving = self._has_headers = True
        self.due = self.loop.time() + self._connections.bounds.request_secs
        self._feed(memoryview(b"POST / HTTP/1.1\r\n" + head + b"\r\n"))
        self._resuming = False
        self._feed(rest)

    def _refuse(self, error: ChorusError) -> None:
        """Read nothing more, and answer the faulty request with `error` when its turn comes."""
        if self._is_refused:
            return
        self._is_refused = True
        self.due = math.inf
        if self._is_receiving and self._has_headers:
            if self.cycle.response_complete:
                self.transport.close()
            else:
                self.cycle.fail(error)
        elif self._answering is not None:
            self._refusal = error
        else:
            self._answer_refused(error)

    def _answer_refused(self, error: ChorusError) -> None:
        request_id = f"req_{secrets.token_hex(12)}"
        url = self.url if self._is_receiving else b""
        self.transport.write(refusal(error, url, request_id))
        self.transport.close()
        self._connections.refused(error, request_id)

    # --- httptools

    def on_message_begin(self) -> None:
        """A new request: count anew."""
        if not self._resuming:
            super().on_message_begin()
            self.scope["extensions"] = {DISCONNECT: self.disconnect}  # type: ignore[dict-item]
            self._is_receiving = True
            self._header_bytes = self._silent_bytes = self._body_bytes = self._timed_bytes = 0
            self.due = self.loop.time() + self._connections.bounds.request_secs

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        if not self._resuming:
            self._count(len(url))
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer: what comes behind the body is no header, and changes nothing
        (RFC 9110, 6.5.1)."""
        if not self._resuming:
            self._count(len(name) + len(value) + 4)
            if not self._has_headers:
                super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The headers are whole: the request begins, or waits for those before it."""
        if self._resuming:
            return
        version = self.parser.get_http_version()
        is_old = version < "1.1"
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["http_version"] = version
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["path"] = self.root_path + (urllib.parse.unquote(path) if "%" in path else path)
        self.scope["raw_path"] = self.root_path.encode("ascii") + url.path
        self.scope["query_string"] = url.query or b""
        kind = UnchunkedExchange if is_old else Exchange
        self.cycle = kind(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and not is_old,
            keep_alive=not is_old and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self.scope["extensions"][BODY_WRITER] = BodyWriter(self.cycle)  # type: ignore[assignment]
        self._has_headers = True
        self._silent_bytes = 0
        if self._answering is None:
            self._begin(self.cycle)
        else:
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._silent_bytes = 0
        self._body_bytes += len(body)
        exchange = self.cycle
        if not exchange.response_complete:  # else the answer did not wait for it
            exchange.add_body(body)
            if len(exchange.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            exchange.message_event.set()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._is_receiving = self._has_headers = False
        self._header_bytes = self._silent_bytes = 0
        # paused by a large last piece, which `receive` may have had no reason to undo
        self.flow.resume_reading()
        super().on_message_complete()
        is_answered = self.cycle.response_complete
        self.due = self.loop.time() + self._connections.bounds.idle_secs if is_answered else math.inf

    def _count(self, size: int) -> None:
        self._silent_bytes = 0
        self._header_bytes += size
        self._check_size()

    def _check_size(self) -> None:
        """Raises HeadersTooLarge."""
        if self._header_bytes + self._silent_bytes > MAX_HEADER_BYTES:
            raise HeadersTooLarge(
                f"The request's headers, trailers or chunk extensions are larger than {MAX_HEADER_BYTES} bytes."
            )

    # --- answering

    def _begin(self, exchange: Exchange) -> None:
        """Have the application answer."""
        self._answering = exchange
        task = self.loop.create_task(exchange.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Go on with bytes held back during the last answer, or wait for the next request."""
        self.server_state.total_requests += 1
        self._answering = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._begin(self.pipeline.pop()[0])  # type: ignore[arg-type]
        elif self._refusal is not None:
            self._answer_refused(self._refusal)
            return
        if self._held and not self._is_refused and not self._is_behind:
            held, self._held = bytes(self._held), bytearray()
            self._read(held)
        self._set_clock()

    def _set_clock(self) -> None:
        """Set the clock of the state that a connection is in after an answer."""
        bounds = self._connections.bounds
        if self._is_refused or self._is_behind:
            self.due = math.inf
        elif not self._is_receiving:
            self.due = self.loop.time() + bounds.idle_secs
        elif self.due == math.inf:
            self.due = self.loop.time() + bounds.request_secs


def _invalid() -> ChorusError:
    return InvalidRequest("This is not a valid HTTP/1.1 request.")
