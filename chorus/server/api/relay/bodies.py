"""The bodies of relayed requests: the model that they name, and another name in its place.

A JSON text is held, as those of all other routes are. A form is streamed to the upstream as it
comes where its model stands before its files. Where it does not, what comes before the model is
written to a temporary file, and then the whole form is: it can be sent again. Forms of up to
`HELD_BYTES` are held in memory, and can be sent again, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, Protocol

import anyio.to_thread
import msgspec
from starlette.types import Receive, Scope

from chorus import wirejson
from chorus.errors import BodyTooLarge, ClientGone, InvalidRequest, UnsupportedEncoding
from chorus.llm.relay import RelayBody
from chorus.server.http.context import header, request_context
from chorus.server.http.form_field import FieldFinder, boundary_of, form_type
from chorus.server.http.spool import Spool, SpoolRoom
from chorus.server.http.wire import read_bytes

HELD_BYTES: Final = 256 * 1024
"""Bytes of a form that are held in memory."""
_PIECE: Final = 256 * 1024
"""Bytes of a held body that are written at a time."""
_CHECKED_HERE: Final = 1024 * 1024
"""Bytes of JSON that are looked through on the event loop: 5 ms."""
_CHARACTERS_OF_A_TOKEN: Final = 4
_TEXTS: Final = ("query", "documents", "input", "instructions")
"""Fields whose texts a model reads."""

_fields_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text_of: Final = msgspec.json.Decoder(str).decode


class ClientBody(RelayBody, Protocol):
    """A body that names its model. Whoever reads it closes it with `aclose()`."""

    model: str

    def text_tokens(self) -> int:
        """Return about how many tokens its texts have; 0 where it is a form."""

    async def aclose(self) -> None:
        """Let go of what it holds."""


async def read_relay_body(scope: Scope, receive: Receive, room: SpoolRoom) -> ClientBody:
    """Return the body of a request, read as far as its model.

    A JSON text is read as a whole, a form at least up to its model. Temporary files take their
    bytes from `room`.

    Raises:
        InvalidRequest: it is neither JSON nor a form, or names no model.
        BodyTooLarge, UnsupportedEncoding, ClientGone: as `wire.read_body` does.
        QueueFull: there is no room for a temporary file.
    """
    boundary = boundary_of(header(scope, b"content-type") or "")
    if boundary is None:
        return await _read_json(await read_bytes(scope, receive))
    form = _FormReader(scope, receive, boundary, room)
    try:
        return await form.read()
    except BaseException:
        await form.spool.aclose()
        raise


class JsonBody:
    """A JSON object. Its fields are passed on as they stand in the text."""

    content_type: Final = "application/json"
    is_kept: Final = True
    can_be_sent: Final = True

    def __init__(self, model: str, fields: dict[str, msgspec.Raw]) -> None:
        self.model = model
        self._fields = fields
        self._encoded: tuple[str, bytes] | None = None

    def text_tokens(self) -> int:
        """See `ClientBody.text_tokens`."""
        texts = [bytes(self._fields[name]) for name in _TEXTS if name in self._fields]
        if any(b'"image' in text for text in texts):  # whose characters are no tokens
            return 0
        return sum(map(len, texts)) // _CHARACTERS_OF_A_TOKEN + 1

    def length(self, model: str) -> int:
        """See `RelayBody.length`."""
        return len(self._content(model))

    def pieces(self, model: str) -> AsyncGenerator[bytes, None]:
        """See `RelayBody.pieces`."""
        return _sliced(self._content(model))

    def _content(self, model: str) -> bytes:
        if self._encoded is None or self._encoded[0] != model:
            self._encoded = (model, wirejson.encode_upstream({**self._fields, "model": model}))
        return self._encoded[1]

    async def aclose(self) -> None:
        """See `ClientBody.aclose`."""


class HeldForm:
    """A form that is whole, in memory or in a temporary file. The model's name stands from `start`
    to `end`."""

    is_kept: Final = True
    can_be_sent: Final = True

    def __init__(self, content_type: str, finder: FieldFinder, held: bytes, spool: Spool) -> None:
        assert finder.value is not None
        self.content_type = content_type
        self.model = finder.value
        self._start, self._end = finder.start, finder.end
        self._held = held
        self._spool = spool

    def text_tokens(self) -> int:
        """See `ClientBody.text_tokens`."""
        return 0

    def length(self, model: str) -> int:
        """See `RelayBody.length`."""
        return (self._spool.size or len(self._held)) - (self._end - self._start) + len(model.encode())

    async def pieces(self, model: str) -> AsyncGenerator[bytes, None]:
        """See `RelayBody.pieces`."""
        name = model.encode()
        if not self._spool.size:
            yield self._held[: self._start] + name + self._held[self._end :]
            return
        async with aclosing(self._spool.pieces(0, self._start)) as before:
            async for piece in before:
                yield piece
        yield name
        async with aclosing(self._spool.pieces(self._end, self._spool.size)) as behind:
            async for piece in behind:
                yield piece

    async def aclose(self) -> None:
        """See `ClientBody.aclose`."""
        await self._spool.aclose()


class StreamedForm:
    """A form of which only the beginning has come, up to the model's name at least. It is sent
    once."""

    is_kept: Final = False

    def __init__(
        self, content_type: str, finder: FieldFinder, begun: bytes, size: int | None, read: Callable[[], _Reading]
    ) -> None:
        """Read a body of which `begun` has come; `read` returns the rest.

        `size` is the length that the client declares.
        """
        assert finder.value is not None
        self.content_type = content_type
        self.model = finder.value
        self.can_be_sent = True
        self.when_read: Callable[[], object] | None = None
        """Called when all of it has come from the client."""
        self._start, self._end = finder.start, finder.end
        self._begun = begun
        self._size = size
        self._read = read

    def text_tokens(self) -> int:
        """See `ClientBody.text_tokens`."""
        return 0

    def length(self, model: str) -> int | None:
        """See `RelayBody.length`."""
        return None if self._size is None else self._size - (self._end - self._start) + len(model.encode())

    async def pieces(self, model: str) -> AsyncGenerator[bytes, None]:
        """See `RelayBody.pieces`."""
        self.can_be_sent = False
        begun, self._begun = self._begun, b""
        yield begun[: self._start] + model.encode() + begun[self._end :]
        del begun
        async with aclosing(self._read()) as rest:
            async for piece in rest:
                yield piece
        if self.when_read is not None:
            self.when_read()

    async def aclose(self) -> None:
        """See `ClientBody.aclose`."""


_Reading = AsyncGenerator[bytes, None]


class _FormReader:
    """Reads one form from a client."""

    def __init__(self, scope: Scope, receive: Receive, boundary: bytes, room: SpoolRoom) -> None:
        if (header(scope, b"content-encoding") or "identity").strip().lower() not in ("", "identity"):
            raise UnsupportedEncoding("Forms are read as they are: send this one without a content encoding.")
        self._content_type = form_type(boundary)
        declared = header(scope, b"content-length")
        self._declared = int(declared) if declared is not None and declared.isdigit() else None
        self._max_bytes = request_context(scope).max_body_bytes
        if self._declared is not None and self._declared > self._max_bytes:
            raise self._too_large()
        self._receive = receive
        self._finder = FieldFinder(boundary, "model")
        self._size = 0
        self._is_whole = False
        self._held = bytearray()
        self.spool = Spool(room)

    async def read(self) -> ClientBody:
        """Read as much as is needed to know the model, or all of it."""
        while not self._is_whole and (self._finder.value is None or self._is_short or self.spool.size):
            await self._keep(await self._next())
        if self._finder.value is None:
            raise InvalidRequest("Missing required field 'model'.", param="model")
        held = bytes(self._held)
        self._held.clear()
        if not self._is_whole:
            return StreamedForm(self._content_type, self._finder, held, self._declared, self._rest)
        if self.spool.size:
            await self.spool.flush()
        return HeldForm(self._content_type, self._finder, held, self.spool)

    @property
    def _is_short(self) -> bool:
        """Whether the whole form may be held in memory, as far as is known."""
        return (self._size if self._declared is None else self._declared) <= HELD_BYTES

    async def _keep(self, data: bytes) -> None:
        """Hold `data` in memory, or write it to the file with all that is held."""
        is_little = self._finder.value is not None or len(self._held) + len(data) <= HELD_BYTES
        if is_little and not self.spool.size:
            self._held += data
            return
        if self._held:
            data = bytes(self._held) + data
            self._held.clear()
        await self.spool.write(data)

    async def _rest(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes behind what `read` has read. The model's name must not come again."""
        while not self._is_whole:
            yield await self._next()

    async def _next(self) -> bytes:
        """Return the next piece from the client.

        Raises:
            ClientGone: it has left.
            BodyTooLarge: it sends more than is read.
            InvalidRequest: what it sends is no form, or one that can be read in two ways.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        data: bytes = message.get("body", b"")
        self._size += len(data)
        if self._size > self._max_bytes:
            raise self._too_large()
        self._finder.feed(data)
        self._is_whole = not message.get("more_body", False)
        if self._is_whole and not self._finder.is_over:
            raise InvalidRequest("The form has no end: a part of the request is missing.")
        return data

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The request body is larger than the {self._max_bytes} bytes that are read ([server] max_body_bytes)."
        )


async def _read_json(raw: bytes) -> JsonBody:
    """Return a JSON text as a body. Raises InvalidRequest where it is none, or names no model."""
    if not raw.strip():
        raise InvalidRequest("The request has no body; expected a JSON object.")
    try:
        if len(raw) > _CHECKED_HERE:
            await anyio.to_thread.run_sync(wirejson.check, raw)
        else:
            wirejson.check(raw)
        fields = _fields_of(raw)
    except msgspec.ValidationError:
        raise InvalidRequest("The request body must be a JSON object.") from None
    except (ValueError, RecursionError) as problem:
        raise InvalidRequest(f"The request body is not valid JSON: {problem}.") from None
    if any(name != "model" and name.lower() == "model" for name in fields):
        # some upstreams do not tell the two apart, and keys are limited to models
        raise InvalidRequest("The field 'model' is written in small letters, once.", param="model")
    if "model" not in fields:
        raise InvalidRequest("Missing required field 'model'.", param="model")
    try:
        model = _text_of(fields["model"])
    except ValueError:
        raise InvalidRequest("Invalid value for 'model': expected 'str'.", param="model") from None
    return JsonBody(model, fields)


async def _sliced(content: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
