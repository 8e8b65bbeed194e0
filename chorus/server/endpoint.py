"""The handler, once for every dialect: parse → run → encode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, Protocol

import anyio
import anyio.to_thread
import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from chorus.errors import ChorusError, RunCancelled, Stopping
from chorus.events import RunFailed, RunFinished, RunStarted
from chorus.journal import Journal
from chorus.server.api.conversation_turns import ConversationTurns, Turn
from chorus.server.api.exchange_writes import NOT_KEPT, ExchangeWrites
from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.base import Dialect, Options, ParsedRequest, ResponseContext
from chorus.server.dialects.element_limits import MAX_ELEMENTS, check_elements
from chorus.server.dialects.for_model import addressed, for_model
from chorus.server.dialects.progress_encoder import ProgressEncoder
from chorus.server.dialects.responses.dialect import OpenAIResponses
from chorus.server.dialects.session_encoder import SessionEncoder
from chorus.server.dialects.side_requests import side_request
from chorus.server.http.auth import check_model, owner_of, principal_of, user_of
from chorus.server.http.context import header, request_context
from chorus.server.http.errors import error_body, error_headers
from chorus.server.http.frames import Encoder
from chorus.server.http.framing import NDJSON, SSE
from chorus.server.http.memory_choice import refuses_memory
from chorus.server.http.priority import priority_of
from chorus.server.http.respond import StreamResponse
from chorus.server.http.warning import warning_header
from chorus.server.http.wire import Header, body_writer_of, disconnect_of, read_body, send_json, wants_sse
from chorus.service import Chorus
from chorus.sessions.flow import recall_warning
from chorus.storage.behind import AddWrite
from chorus.telemetry.runlog import RunLog
from chorus.telemetry.trace import workflow_details
from chorus.wirejson import JSON

_log = structlog.get_logger("chorus.server")
_PARSED_HERE: Final = MAX_ELEMENTS
"""Commas and brackets of a body that is parsed on the event loop: 20 ms at worst. Parsing in a
worker thread takes longer and lets the event loop run."""
_BYTES_PER_SEPARATOR: Final = 16
"""Of a stored history: an item of a short text has about ten commas and brackets in 150 bytes."""
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What the configuration says about answers.

    `heartbeat_secs` is the quiet time before and between heartbeats.
    """

    heartbeat_secs: float = 10.0
    ollama_sse: bool = False


class Stored(Protocol[Options]):
    """What an endpoint asks of the keeper of its dialect's answers (`api.stored_responses`)."""

    async def resolve_references(self, body: JSON, owner: str, away: Callable[[str], None]) -> JSON:
        """Return `body` with what it refers to in place of the references. `away` is called with a
        sentence where the answer goes without a part of it, since the store is away."""
        ...

    def keep(self, owner: str, body: JSON, context: ResponseContext[Options], journal: Journal, add: AddWrite) -> None:
        """Keep the answer of a run when it is over; `add` lets it be written."""
        ...

    async def answer_in_background(
        self,
        parsed: ParsedRequest[Options],
        begun: Callable[[Journal], ResponseContext[Options]],
        headers: Callable[[Journal, Sequence[str]], list[Header]],
        scope: Scope,
        send: Send,
    ) -> None:
        """Answer with a run that goes on when the client disconnects."""
        ...


class DialectEndpoint(Generic[Options]):
    """An ASGI application that answers one dialect's POST."""

    def __init__(
        self,
        dialect: Dialect[Options],
        chorus: Chorus,
        settings: EndpointSettings,
        stored: Stored[Options] | None = None,
    ) -> None:
        """`stored` keeps the answers of a dialect whose requests may refer to earlier ones."""
        self._dialect = dialect
        self._chorus = chorus
        self._settings = settings
        self._stored = stored
        self._turns = ConversationTurns(chorus, is_responses=isinstance(dialect, OpenAIResponses))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises ChorusError while nothing has been sent; the edge turns it into a response.
        """
        body, structure = await read_body(scope, receive, self._dialect.readers)
        turn = self._turns.turn(scope, body)
        away: list[str] = []
        if self._stored is not None:
            body = await self._stored.resolve_references(body, owner_of(scope), away.append)
        weight = structure.separators
        if turn is not None:
            await turn.load()
            body = turn.complete(body)
            weight += turn.history_bytes // _BYTES_PER_SEPARATOR
        elif isinstance(body, dict) and body.get("session") is False:
            # it goes to no upstream
            body = {key: value for key, value in body.items() if key != "session"}
        if weight <= _PARSED_HERE:
            parsed = self._dialect.parse(body)
        else:
            parsed = await anyio.to_thread.run_sync(self._dialect.parse, body)
            check_elements(parsed.requests)
        check_model(scope, parsed.model)
        parsed = self._with_side_model(parsed, body)
        if parsed.side is not None:
            turn = None  # it brings its own copy of the conversation, and is no part of it
        recall_user = user_of(scope) if _wants_memory(scope, body) else None
        if turn is not None:
            parsed = await turn.joined(parsed, recall_user)
        betas = header(scope, b"anthropic-beta") or "" if isinstance(self._dialect, AnthropicMessages) else None
        parsed = for_model(parsed, self._chorus.snapshot.provider_of, betas)
        if away:
            warned = {"warnings": (*away, *parsed.warnings), "notes": (*away, *parsed.notes)}
            parsed = msgspec.structs.replace(parsed, **warned)
        session, priority = header(scope, b"x-session-id") or parsed.conversation, priority_of(scope, body)
        if session is None and turn is not None:
            session = turn.new_id
        if session is not None or priority != "default":
            parsed = addressed(parsed, session, owner_of(scope), priority)
        if _wants(scope, b"x-chorus-include-workflow"):
            parsed = msgspec.structs.replace(parsed, include_workflow=True)
        if recall_user is not None:
            parsed = msgspec.structs.replace(parsed, recall_user=recall_user)
        if (parsed.stream and not parsed.is_feed) and (
            _wants(scope, b"x-chorus-progress")
            or (parsed.side is None and self._chorus.snapshot.resolve(parsed.model).progress)
        ):
            parsed = msgspec.structs.replace(parsed, progress=True)
        keep = None
        if self._stored is not None and body.get("store") is not False:
            keep = partial(self._stored.keep, owner_of(scope), body)
        background = self._stored if self._stored is not None and body.get("background") is True else None
        # a long conversation is thousands of objects that the garbage collector need not walk
        # through meanwhile
        del body
        client = header(scope, b"user-agent") or "" if parsed.warnings else ""
        for sentence in parsed.warnings:
            write = _log.warning if self._chorus.repeats.is_news(client, sentence) else _log.debug
            write("request changed", model=parsed.model, client=client, reason=sentence)
        exchange = _Exchange(self._dialect, self._chorus, self._settings, scope, send, parsed, keep, turn)
        if not parsed.requests:
            await exchange.load()
        elif background is not None:
            await exchange.answer_in_background(background)
        else:
            await exchange.answer()

    def _with_side_model(self, parsed: ParsedRequest[Options], body: Mapping[str, JSON]) -> ParsedRequest[Options]:
        """Return `parsed`, of whose requests one model answers those beside the conversation.

        The workflow's settings say whether it does.
        """
        model = self._chorus.snapshot.resolve(parsed.model).side_model
        side = side_request(body, parsed.requests[0]) if model is not None and parsed.requests else None
        if model is None or side is None:
            return parsed
        requests = tuple(msgspec.structs.replace(request, model=model) for request in parsed.requests)
        return msgspec.structs.replace(parsed, requests=requests, side=side)


class _Exchange(Generic[Options]):
    """One request and its response."""

    def __init__(
        self,
        dialect: Dialect[Options],
        chorus: Chorus,
        settings: EndpointSettings,
        scope: Scope,
        send: Send,
        parsed: ParsedRequest[Options],
        keep: Callable[[ResponseContext[Options], Journal, AddWrite], None] | None,
        turn: Turn | None,
    ) -> None:
        """`keep` is called with the run when it begins.

        `turn` is that of the conversation that the request belongs to, None for a request without
        one.
        """
        self._dialect = dialect
        self._chorus = chorus
        self._settings = settings
        self._scope = scope
        self._send = send
        self._parsed = parsed
        self._request = request_context(scope)
        self._keep = keep
        self._turn = turn
        self._writes = ExchangeWrites(chorus)
        self._is_late = False
        self._stream: StreamResponse | None = None
        self._began = time.time()

    async def load(self) -> None:
        """Answer a request that only wants its model loaded."""
        self._chorus.snapshot.resolve(self._parsed.model)
        await send_json(self._send, self._dialect.whole(self._context(None), ()))

    async def answer(self) -> None:
        """Run, and send what comes of it.

        A client that leaves ends it all, a server that stops says so.
        """
        try:
            await self._run()
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(1, shield=True):
                await self._say_stopping()
            raise
        finally:
            # which refers to this exchange: the collector may find such a cycle minutes later, and
            # 11 MB of a request with an image wait for it
            self._stream = None

    async def _run(self) -> None:
        try:
            await self._run_claiming()
        finally:
            self._writes.release()

    async def _run_claiming(self) -> None:
        """Run, and do the writes of the exchange, where the client waits for them."""
        self._writes.claims = True
        log = RunLog(self._chorus.repeats)
        self._request.run = log.summary
        async with self._chorus.run(
            self._parsed.requests,
            request_id=self._request.request_id,
            unique=self._request.unique,
            streaming=self._parsed.stream,
            observers=(log,),
            cancel_signal=disconnect_of(self._scope),
            caller=principal_of(self._scope),
            side=self._parsed.side,
            recall_user=self._parsed.recall_user,
            notes=self._parsed.notes,
        ) as journal:
            if self._turn is not None:
                self._parsed = await self._turn.begun(self._parsed)
            context = self._begun(journal)
            if self._parsed.stream:
                await self._send_stream(journal, context)
            else:
                await self._send_whole(journal, context)
        if self._parsed.stream:
            await self._end_cancelled(journal)

    async def _end_cancelled(self, journal: Journal) -> None:
        """Say to the client of a stream that somebody has cancelled its run."""
        over = journal.events[-1]
        if self._stream is None or not isinstance(over, RunFailed) or not isinstance(over.error, RunCancelled):
            return
        if (error := await self._stream.finish(journal)) is not None:
            await self._send_error(error, journal)

    async def answer_in_background(self, stored: Stored[Options]) -> None:
        """Answer with a run that belongs to the server."""
        if self._turn is not None:
            self._parsed = await self._turn.begun(self._parsed)
        await stored.answer_in_background(self._parsed, self._begun, self._headers, self._scope, self._send)

    def _begun(self, journal: Journal) -> ResponseContext[Options]:
        """Return the reply to `journal`: empty so far where it is streamed, else whole."""
        context = self._context(journal)
        counted = ("conversations",) if self._turn is not None and self._turn.is_away else ()
        add = self._writes.adding(journal.workflow_id, counted)
        if self._keep is not None:
            self._keep(context, journal, add)
        if self._turn is not None:
            self._turn.keep(context, journal, add)
            if self._turn.late_note is not None:
                self._chorus.past_runs.note_at_end(journal, self._turn.late_note)
        return context

    async def _send_stream(self, journal: Journal, context: ResponseContext[Options]) -> None:
        sse = self._dialect.framing == "sse" or wants_sse(self._scope, always=self._settings.ollama_sse)
        framer = SSE(self._dialect.done) if sse else NDJSON()
        encoder: Encoder = self._dialect.encoder(context)
        if self._parsed.progress:
            encoder = ProgressEncoder(encoder)
        if self._parsed.conversation is not None:
            encoder = SessionEncoder(encoder, self._parsed.conversation)
        headers = partial(self._headers, journal)
        writer = body_writer_of(self._scope)
        self._stream = StreamResponse(self._send, encoder, framer, headers, self._settings.heartbeat_secs, writer)
        if self._keep is not None or self._turn is not None:
            self._stream.before_end = self._writes.are_kept
        held = not (self._parsed.progress or self._parsed.is_feed)
        if (error := await self._stream.follow(journal, held=held)) is not None:
            await self._send_error(error, journal)

    async def _send_whole(self, journal: Journal, context: ResponseContext[Options]) -> None:
        await journal.ended()
        over = journal.events[-1]
        if isinstance(over, RunFailed):
            await self._send_error(over.error, journal)
        else:
            self._is_late = not await self._writes.are_kept()
            body = self._dialect.whole(context, journal.events)
            if self._parsed.conversation is not None:
                body = {**body, "session_id": self._parsed.conversation}
            headers = self._headers(journal)
            if isinstance(over, RunFinished):
                headers.append((b"x-chorus-total-tokens", str(over.usage.total_tokens).encode()))
            await send_json(self._send, body, headers=headers)

    async def _send_error(self, error: ChorusError, journal: Journal) -> None:
        """Send the error, with its own status, of a run that failed before anything was sent.

        Its trace is in it where that is wanted.
        """
        shown = error_body(error, self._request.error_style, self._request.request_id)
        if self._parsed.include_workflow:
            shown["workflow"] = workflow_details(journal.events)
        headers = [*error_headers(error), *self._headers(journal)]
        await send_json(self._send, shown, error.status, headers)

    def _headers(self, journal: Journal, more_warnings: Sequence[str] = ()) -> list[Header]:
        """Return the headers with the trace's id and the warnings of the request.

        `GET /api/v1/workflows/{id}` has the trace; warnings say what was changed or could not be
        done.
        """
        headers = [(b"x-chorus-workflow-id", journal.workflow_id.encode())]
        warnings = (*self._parsed.warnings, *more_warnings)
        if self._parsed.recall_user is not None and (sentence := recall_warning(journal.events)) is not None:
            warnings = (*warnings, sentence)
        started = journal.events[0] if journal.events else None
        # of its admission
        if isinstance(started, RunStarted) and started.notes != self._parsed.notes:
            warnings = (*warnings, *(note for note in started.notes if note not in self._parsed.notes))
        is_kept = self._keep is not None or self._turn is not None
        if self._is_late or (is_kept and self._chorus.writes.is_away):
            warnings = (*warnings, NOT_KEPT)
        if warnings:
            headers.append((b"x-chorus-warning", warning_header(warnings)))
        if self._parsed.side is not None:
            headers.append((b"x-chorus-side-request", self._parsed.side.encode()))
        if self._parsed.conversation is not None:
            headers.append((b"x-session-id", self._parsed.conversation.encode()))
        return headers

    def _context(self, journal: Journal | None) -> ResponseContext[Options]:
        wanted = journal is not None and self._parsed.include_workflow
        fold = partial(workflow_details, journal.events) if journal is not None and wanted else None
        request = self._request
        reply_id = self._dialect.id_prefix + request.unique
        return ResponseContext(reply_id, request.request_id, self._began, self._parsed, request.error_style, fold)

    async def _say_stopping(self) -> None:
        error = Stopping()
        # the run itself only knows that nobody waits for it any more
        self._request.run["error"] = error.code
        if self._stream is not None and self._stream.committed:
            await self._stream.fail(error, time.time() - self._began)
        else:
            shown = error_body(error, self._request.error_style, self._request.request_id)
            await send_json(self._send, shown, error.status)


def _wants_memory(scope: Scope, body: Mapping[str, JSON]) -> bool:
    """Return whether the notes on its user may go with this request."""
    return body.get("memory") is not False and not refuses_memory(scope)


def _wants(scope: Scope, name: bytes) -> bool:
    """Return whether the header called `name` says yes."""
    value = header(scope, name)
    return value is not None and value.strip().lower() in _TRUE
