"""The exchanges of stored conversations, in every dialect (M3).

A request names a conversation or begins one, gets its history, and is appended with its answer when
the run is over.

Above: the endpoint. Below: the conversations of the store, and writes that no request waits for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
from starlette.types import Scope

from chorus.errors import InvalidRequest, StorageUnavailable
from chorus.events import Event, RunFailed, RunFinished
from chorus.journal import Journal
from chorus.server.api.continued_calls import needs_ids, with_call_ids
from chorus.server.api.conversation_items import stored_item
from chorus.server.api.conversation_reading import StoredHistory, may_use, read_history
from chorus.server.api.conversations import new_conversation_id, unknown_conversation, write_key
from chorus.server.api.known_messages import KnownMessages
from chorus.server.dialects.base import Options, ParsedRequest, ResponseContext
from chorus.server.dialects.responses.exchanges import history_messages, input_items, output_items, with_message
from chorus.server.dialects.responses.plain_history import plain_messages
from chorus.server.dialects.responses.stream import response_of
from chorus.server.http.auth import owner_of, user_of
from chorus.server.http.context import header, request_context
from chorus.service import Chorus
from chorus.sessions.history import SYSTEM_ROLES, JoinedHistory, joined, message_tokens, room_for, trimmed
from chorus.sessions.retries import without_retries
from chorus.storage.behind import AddWrite
from chorus.storage.records import Item
from chorus.types import ChatRequest, Message
from chorus.wirejson import JSON

_READ_HERE: Final = 512 * 1024
"""Bytes of a history that is made into messages on the event loop; more goes to a worker thread."""
_BEGIN_SECS: Final = 2.0
"""How long an answer waits until its new session is kept."""
_TITLE_CHARS: Final = 80
_INCOMPLETE: Final = b'"status":"incomplete"'
"""Stands in the JSON text of an answer that failed; in a text its quotes would be escaped."""
_HEADER: Final = "X-Session-ID"
_CONVERSATION: Final = "conversation"
_PREFIX: Final = "conv_"
"""A `session_id` without it is a field of the upstream's, as OpenRouter has one."""
_OURS: Final = re.compile(_PREFIX + r"[0-9a-f]{8,64}")
_AWAY: Final = "The storage is away: the request is answered without the history of its conversation."
_NOT_BEGUN: Final = "The storage is away: no session was begun."
_UNKNOWN: Final = "X-Session-ID names no conversation: nothing is loaded."
_TWO_HISTORIES: Final = "Send either '{param}' or 'previous_response_id', not both."
_TRIMMED: Final = "The {which} of the conversation did not fit into the context window."
_AS_CHAT: Final[Mapping[str, Any]] = {"prompt": None, "suffix": None, "echo": False, "generate_options": {}}
"""A prompt that goes on with a conversation is a user's message of a chat."""


class ConversationTurns:
    """Finds the requests that belong to conversations, for the endpoint of one dialect."""

    def __init__(self, chorus: Chorus, *, is_responses: bool) -> None:
        """`is_responses`: requests have the shape of the Responses API."""
        self._chorus = chorus
        self._is_responses = is_responses
        self._known = KnownMessages()

    def turn(self, scope: Scope, body: JSON) -> Turn | None:
        """Return the turn that the request with `body` is, without reading anything yet.

        None where it names no conversation and begins none.

        Raises:
            InvalidRequest: `conversation` is no id.
        """
        if not isinstance(body, dict):
            return None
        param = _HEADER
        named = header(scope, b"x-session-id")
        if named is not None and _OURS.fullmatch(named) is None:
            named = None
        begins = body.get("session") is True
        given = body.get("session_id")
        if isinstance(given, str) and given.startswith(_PREFIX):
            named, param = given, "session_id"
        if self._is_responses and body.get(_CONVERSATION) is not None:
            named, param = _conversation_id(body[_CONVERSATION]), _CONVERSATION
        if named is None and not begins:
            return None
        goes_on = self._is_responses and body.get("previous_response_id") is not None
        is_responses = self._is_responses
        return Turn(
            self._chorus, self._known, scope, named, param, begins=begins, is_responses=is_responses, goes_on=goes_on
        )


class Turn:
    """One request of a conversation, and its answer. The calls come in this order: `load`,
    `complete`, `joined`, `begun`, `keep`."""

    def __init__(
        self,
        chorus: Chorus,
        known: KnownMessages,
        scope: Scope,
        conversation_id: str | None,
        param: str,
        *,
        begins: bool,
        is_responses: bool,
        goes_on: bool,
    ) -> None:
        """`param` is where the request names the conversation. `begins`: it wants a new one, where
        it names none. `goes_on`: it has a history already, that of an earlier response."""
        self._chorus = chorus
        self._known = known
        self._conversations = chorus.storage.conversations
        self._owner = owner_of(scope)
        self._user = user_of(scope) or ""
        self._unique = request_context(scope).unique
        self._id = conversation_id
        self._param = param
        self._new_id = new_conversation_id() if begins else None
        self._is_responses = is_responses
        self._goes_on = goes_on
        self._history = StoredHistory()
        self._messages: Sequence[Message] | None = None
        """The history as messages, where it has finished texts only."""
        self._is_begun = False
        """Whether the conversation has items."""
        self._given: list[JSON] = []
        self._input: list[Item] = []
        self._title = ""
        self._warnings: list[str] = []
        self.is_away = False
        """Whether the store was away for this request, which is counted then."""
        self.late_note: str | None = None
        """A sentence for the trace of the run, which has begun already."""

    @property
    def history_bytes(self) -> int:
        """The length of the history in the body, as JSON."""
        return self._history.size if self._is_responses else 0

    @property
    def new_id(self) -> str | None:
        """The id of the conversation that the request begins; None where it continues one.

        Its calls go by it from the first one on.
        """
        return self._new_id if self._id is None else None

    async def load(self) -> None:
        """Read the history of the conversation, where one is named. A store that is away is a
        warning, as is a header that names none.

        Raises:
            NotFound: the body names a conversation that the caller has not (any more).
            InvalidRequest: the history is too long, and the request does not let it be trimmed; or
                the request has two histories.
        """
        if self._id is None:
            return
        try:
            await self._chorus.writes.settled(write_key(self._owner, self._id))
            history = await read_history(self._conversations, self._owner, self._id)
            if history is not None and may_use(history[0], self._user):
                if self._goes_on:
                    raise InvalidRequest(_TWO_HISTORIES.format(param=self._param), param=self._param)
                self._history = history[1]
                if not self._history.is_whole and self._param == _CONVERSATION:
                    raise InvalidRequest("The conversation is too long for one request.", param=_CONVERSATION)
            elif self._param == _HEADER:
                self._id = None
                self._warnings.append(_UNKNOWN)
            else:
                raise unknown_conversation(self._param)
        except StorageUnavailable:
            self._is_away(_AWAY)

    def complete(self, body: Mapping[str, JSON]) -> dict[str, JSON]:
        """Return `body` without the fields that name the session. A Responses request gets the
        items of the history before its input, and results of tools the ids of their calls."""
        rest = {key: value for key, value in body.items() if key not in ("session", "session_id")}
        if self._is_responses:
            self._given = [body.get("input"), body.get("messages"), body.get("prompt")]
            if not any(self._given):
                self._given = [body.get("instructions")]
            self._leave_out_retries([*_flat(self._given)])
            if self._history:
                rest["input"] = [*self._history.items, *_as_list(body.get("input"))]
        elif self._history and needs_ids(rest.get("messages")):
            rest["messages"] = with_call_ids(rest["messages"], self._history.items)
        return rest

    async def joined(self, parsed: ParsedRequest[Options], recall_user: str | None) -> ParsedRequest[Options]:
        """Return `parsed` with the history before its messages, and the id of the conversation.

        The history is cut to the context window of the model, beside the notes on `recall_user`.
        """
        requests = parsed.requests
        if requests:
            self._take_input(requests[0])
        if requests and self._history:
            plan = self._chorus.snapshot.resolve(parsed.model)
            window = 0  # a conversation of the Responses API is not trimmed
            if self._param != _CONVERSATION:
                window = await self._chorus.descriptions.window_for(plan)
                if window > 0 and recall_user is not None:
                    window = max(window - await self._chorus.memory.tokens(self._owner, recall_user), 1)
            if self._history.size <= _READ_HERE:
                requests = self._with_history(requests, window)
            else:
                requests = await anyio.to_thread.run_sync(self._with_history, requests, window)
        self._history, self._messages, self._given = StoredHistory(), None, []
        notes, self._warnings = tuple(self._warnings), []
        return msgspec.structs.replace(
            parsed, requests=requests, warnings=(*notes, *parsed.warnings), notes=notes, conversation=self._id
        )

    async def begun(self, parsed: ParsedRequest[Options]) -> ParsedRequest[Options]:
        """Return `parsed` with the id of the conversation that it begins, where it begins one. To
        be called when the request has been let in, so that one that is refused leaves nothing.
        `late_note` is for its trace."""
        conversation_id = self.new_id
        if conversation_id is not None and parsed.requests:
            try:
                with anyio.fail_after(_BEGIN_SECS):
                    await self._conversations.create(self._owner, conversation_id, user=self._user)
            except (TimeoutError, StorageUnavailable):
                self._is_away(_NOT_BEGUN)
                self.late_note = _NOT_BEGUN
                return msgspec.structs.replace(parsed, warnings=(_NOT_BEGUN, *parsed.warnings))
            self._id = conversation_id
            return msgspec.structs.replace(parsed, conversation=conversation_id)
        return parsed

    def keep(self, context: ResponseContext[Any], journal: Journal, add: AddWrite) -> None:
        """Append the exchange to its conversation, once, when the run is over. The next request of
        this conversation waits for it. `add` lets it be written."""
        conversation_id = self._id
        if conversation_id is None:
            return

        def keep(event: Event) -> None:
            if type(event) is RunFinished or type(event) is RunFailed:
                items = [*self._input, *map(stored_item, self._output(context, journal, event))]
                append = partial(
                    self._conversations.append, self._owner, conversation_id, items, turns=1, title=self._title
                )
                size = sum(len(item.value) for item in items)
                add(write_key(self._owner, conversation_id), size, append)

        journal.observe(keep)

    def _output(
        self, context: ResponseContext[Any], journal: Journal, over: RunFinished | RunFailed
    ) -> list[dict[str, Any]]:
        """Return the items of the answer.

        Those of a Responses request are the ones that its client has.
        """
        if not self._is_responses:
            return output_items(journal.events, context.parsed.model, self._unique)
        output: list[dict[str, Any]] = response_of(context, journal.events)["output"]
        return with_message(output, self._unique) if isinstance(over, RunFailed) else output

    def _take_input(self, request: ChatRequest) -> None:
        """Keep what the exchange is stored with: the request's own messages. System messages are
        stored with the first exchange only, or they would pile up."""
        items: list[Any] = [*_flat(self._given)] if self._is_responses else input_items(request.messages)
        if not self._is_responses:
            self._leave_out_retries(items)
        if self._is_begun and self._param != _CONVERSATION:
            items = [item for item in items if item.get("role") not in SYSTEM_ROLES]
        self._input = [stored_item(item, unique=f"{self._unique}{place:04d}") for place, item in enumerate(items)]
        asked = (message.text for message in reversed(request.messages) if message.role == "user")
        self._title = next(asked, "")[:_TITLE_CHARS]

    def _leave_out_retries(self, asked: list[Any]) -> None:
        """Let the model not read a question twice that failed before and is `asked` again."""
        history = self._history
        self._is_begun = bool(history)
        self._messages = self._finished()
        if self._messages is not None:
            return  # a search through all of its bytes takes as long as reading them
        if _INCOMPLETE in history.encoded:
            self._history = history.keeping(without_retries(history.items, asked))

    def _finished(self) -> Sequence[Message] | None:
        """Return the history as messages, where it has finished texts only.

        None also where it is read in a worker thread, or by the Responses API itself.
        """
        if self._is_responses or self._id is None or self._history.size > _READ_HERE:
            return None
        return self._known.of(self._id, self._history.encoded)

    def _with_history(self, requests: tuple[ChatRequest, ...], window: int) -> tuple[ChatRequest, ...]:
        """Return `requests`, of one text or of one prompt each, behind the history."""
        completed: list[ChatRequest] = []
        dropped = 0
        for position, request in enumerate(requests):
            if position > 0 and request.messages is requests[position - 1].messages:
                messages = completed[-1].messages
            else:
                history = self._before(request, room_for(window, request))
                messages, dropped = history.messages, max(dropped, history.dropped_turns)
            completed.append(msgspec.structs.replace(request, messages=messages, **_AS_CHAT))
        if not self._history.is_whole:
            self._warnings.append(_TRIMMED.format(which="oldest turns"))
        elif dropped:
            which = "oldest turn" if dropped == 1 else f"{dropped} oldest turns"
            self._warnings.append(_TRIMMED.format(which=which))
        return tuple(completed)

    def _before(self, request: ChatRequest, room: int | None) -> JoinedHistory:
        if self._is_responses:  # its input has the history already
            return trimmed(request.messages, room)
        results = {message.tool_call_id for message in request.messages if message.role == "tool"}
        history = self._messages or plain_messages(self._history.encoded)
        if history is None:
            history = history_messages(self._history.items, results)
        elif room is not None and self._history.size // 2 + sum(map(message_tokens, request.messages)) <= room:
            # texts have fewer tokens than half of their JSON's bytes: they need no count
            room = None
        return joined(history, request.messages, room)

    def _is_away(self, sentence: str) -> None:
        self._warnings.append(sentence)
        self.is_away = True
        self._chorus.metrics.storage_unavailable("conversations")


def _conversation_id(given: JSON) -> str:
    """Return the id in the field `conversation`.

    Raises:
        InvalidRequest: it is neither an id nor an object with one.
    """
    named = given.get("id") if isinstance(given, Mapping) else given
    if not isinstance(named, str):
        raise InvalidRequest("Invalid value for 'conversation': expected an id.", param=_CONVERSATION)
    return named


def _as_list(given: JSON) -> list[JSON]:
    """Return `input` as a list, whose items are not checked yet."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def _flat(given: JSON) -> Iterator[Mapping[str, Any]]:
    """Return the items of a Responses input that has been read: texts, items, and lists of them."""
    if isinstance(given, str):
        if given.strip():
            yield {"type": "message", "role": "user", "content": given}
    elif isinstance(given, Mapping):
        yield given
    elif isinstance(given, list):
        for item in given:
            yield from _flat(item)
