"""Forms with a file (`multipart/form-data`), read piece by piece and never held as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Receive, Scope

from chorus.errors import BodyTooLarge, ClientGone, InvalidRequest, UnsupportedEncoding
from chorus.server.http.context import header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_BOUNDARY: Final = 256
_MAX_PARTS: Final = 32
_MAX_HEADER_BYTES: Final = 4096


class FormPiece(msgspec.Struct):
    """Some bytes of one part of a form. `filename` is None for a field that is no file. The first
    piece of a part `begins` it, and may be empty."""

    name: str
    filename: str | None
    data: bytes
    begins: bool = False


class _Parts:
    """The callbacks of the parser: they collect what came of one piece of the body."""

    def __init__(self) -> None:
        self.pieces: list[FormPiece] = []
        self.is_over = False
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._part = FormPiece("", None, b"")
        self._number = 0

    def on_part_begin(self) -> None:
        self._number += 1
        if self._number > _MAX_PARTS:
            raise InvalidRequest(f"The form has more than {_MAX_PARTS} parts.")
        self._disposition = b""

    def on_header_begin(self) -> None:
        self._header = self._value = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._check_header()

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise InvalidRequest("A part of the form has no name.")
        filename = options.get(b"filename")
        self._part = FormPiece(
            options[b"name"].decode(errors="replace"),
            filename.decode(errors="replace") if filename is not None else None,
            b"",
            begins=True,
        )
        self.pieces.append(self._part)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append(FormPiece(self._part.name, self._part.filename, data[start:end]))

    def on_end(self) -> None:
        self.is_over = True

    def _check_header(self) -> None:
        # older versions of the parser have no bound
        if len(self._header) + len(self._value) > _MAX_HEADER_BYTES:
            raise InvalidRequest(f"A part of the form has a header of more than {_MAX_HEADER_BYTES} bytes.")


async def form_pieces(scope: Scope, receive: Receive, max_bytes: int) -> AsyncIterator[FormPiece]:
    """Return the parts of a form piece by piece, in their order.

    Raises:
        InvalidRequest: the body is no such form.
        UnsupportedEncoding: it is compressed.
        BodyTooLarge: it is larger than `max_bytes`, by its declared length or as it comes.
        ClientGone: the client left while sending it.
    """
    kind, options = parse_options_header(header(scope, b"content-type") or "")
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise InvalidRequest("Expected a form (multipart/form-data) with the fields 'file' and 'purpose'.")
    if (header(scope, b"content-encoding") or "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding("Forms are read as they are: send this one without a content encoding.")
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    parts = _Parts()
    callbacks: MultipartCallbacks = {
        "on_part_begin": parts.on_part_begin,
        "on_header_begin": parts.on_header_begin,
        "on_header_field": parts.on_header_field,
        "on_header_value": parts.on_header_value,
        "on_header_end": parts.on_header_end,
        "on_headers_finished": parts.on_headers_finished,
        "on_part_data": parts.on_part_data,
        "on_end": parts.on_end,
    }
    parser = MultipartParser(boundary, callbacks)
    size, is_last = 0, False
    while not is_last:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        data: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        size += len(data)
        if size > max_bytes:
            raise _too_large(max_bytes)
        try:
            parser.write(data)
        except FormParserError:
            raise InvalidRequest("The request body is not a valid form (multipart/form-data).") from None
        pieces, parts.pieces = parts.pieces, []
        for piece in pieces:
            yield piece
    if not parts.is_over:
        raise InvalidRequest("The form has no end: a part of the request is missing.")


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The form is larger than the {max_bytes} bytes that are read.")
