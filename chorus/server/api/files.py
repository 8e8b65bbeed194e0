"""OpenAI's Files API for batches (M7): `/v1/files`.

A file belongs to the key that uploaded it; to all others it does not exist. It is written to the
store while it comes, and read from it while it goes out.
"""

from __future__ import annotations

import secrets
from typing import Final

import anyio
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import BodyTooLarge, ChorusError, InvalidRequest, NotFound
from chorus.server.api.paging import expiry_secs, page_body, page_limit, page_order
from chorus.server.http.auth import owner_of
from chorus.server.http.multipart import FormPiece, form_pieces
from chorus.server.http.routes import Route
from chorus.server.http.wire import send_json
from chorus.storage import base
from chorus.storage.records import DAY_SECS, NO_FILE, StoredFile
from chorus.wirejson import JSON

MAX_FILE_BYTES: Final = 200 * 1024 * 1024
"""As OpenAI has it."""
KEEP_SECS: Final = 30 * DAY_SECS
"""How long a file is kept that does not say otherwise, as OpenAI has it."""
_PIECE_BYTES: Final = 512 * 1024
_FORM_BYTES: Final = 64 * 1024
"""What a form may have beside its file."""
_MAX_FIELD_CHARS: Final = 1000
_MAX_NAME_CHARS: Final = 255
_MAX_PAGE: Final = 10_000
_CLEAN_UP_SECS: Final = 5.0


class Files:
    """The handlers of `/v1/files`."""

    def __init__(self, files: base.Files) -> None:
        self._files = files

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the API, below `/v1/files`."""
        return (
            Route("", self.files, "Upload a file (a form), or list files", ("GET", "POST"), access="client"),
            Route("/{id}", self.file, "A file: read what it is, delete it", ("GET", "DELETE"), access="client"),
            Route(
                "/{id}/content",
                self.content,
                "What is in a file",
                media_type="application/octet-stream",
                access="client",
            ),
        )

    async def files(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Upload a file, or list a page of them."""
        if scope["method"] == "POST":
            await send_json(send, _file_body(await self._uploaded(scope, receive)))
            return
        query = QueryParams(scope["query_string"])
        page = await self._files.page(
            owner_of(scope),
            purpose=query.get("purpose"),
            order=page_order(query.get("order")),
            after=query.get("after"),
            limit=page_limit(query.get("limit"), _MAX_PAGE, _MAX_PAGE),
        )
        await send_json(send, page_body([_file_body(file) for file in page.files], has_more=page.has_more))

    async def file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read what a file is, or delete it."""
        owner, id = owner_of(scope), scope["path_params"]["id"]
        if scope["method"] == "DELETE":
            if not await self._files.delete(owner, id):
                raise NotFound(NO_FILE)
            await send_json(send, {"id": id, "object": "file", "deleted": True})
            return
        await send_json(send, _file_body(await self._file(owner, id)))

    async def content(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is in a file."""
        owner, id = owner_of(scope), scope["path_params"]["id"]
        file = await self._file(owner, id)
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(file.size).encode())]
        part = await self._files.read(owner, id)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while part is not None and part.next is not None:
            await send({"type": "http.response.body", "body": b"".join(part.pieces), "more_body": True})
            part = await self._files.read(owner, id, part.next)
        if part is None:  # it was deleted meanwhile: the client sees that its end is missing
            raise NotFound(NO_FILE)
        await send({"type": "http.response.body", "body": b"".join(part.pieces), "more_body": False})

    async def _file(self, owner: str, id: str) -> StoredFile:
        file = await self._files.get(owner, id)
        if file is None:
            raise NotFound(NO_FILE)
        return file

    async def _uploaded(self, scope: Scope, receive: Receive) -> StoredFile:
        """Return the file that the request's form has brought."""
        upload = _Upload(self._files, owner_of(scope))
        try:
            async for piece in form_pieces(scope, receive, MAX_FILE_BYTES + _FORM_BYTES):
                await upload.take(piece)
            return await upload.finished()
        except BaseException:
            await upload.forget()
            raise


class _Upload:
    """A file that comes. Its fields may stand before it or behind it."""

    def __init__(self, files: base.Files, owner: str) -> None:
        self._files = files
        self._owner = owner
        self._id = f"file-{secrets.token_hex(12)}"
        self._fields: dict[str, str] = {}
        self._field = bytearray()
        self._has_begun = False
        self._waiting = bytearray()
        self._number = 0
        self._size = 0

    async def take(self, piece: FormPiece) -> None:
        """Take what comes next of the form."""
        if piece.name == "file":
            await self._take_data(piece)
            return
        if piece.begins:
            self._field.clear()
        self._field += piece.data
        if len(self._field) > _MAX_FIELD_CHARS:
            raise InvalidRequest(f"The field '{piece.name[:100]}' is too long.", param=piece.name[:100])
        self._fields[piece.name] = self._field.decode(errors="replace")

    async def finished(self) -> StoredFile:
        """Return the file, which is whole. Raises InvalidRequest where something is missing."""
        if not self._has_begun:
            raise InvalidRequest("Missing required field 'file'.", param="file")
        purpose = self._fields.get("purpose")
        if purpose is None:
            raise InvalidRequest("Missing required field 'purpose'.", param="purpose")
        if purpose != "batch":
            raise InvalidRequest("Invalid value for 'purpose': only 'batch' is supported.", param="purpose")
        await self._write()
        return await self._files.finish(self._owner, self._id, expiry_secs(self._expiry(), "expires_after", KEEP_SECS))

    async def forget(self) -> None:
        """Remove what has come, where the store can be reached; else it goes in an hour."""
        if not self._has_begun:
            return
        with anyio.move_on_after(_CLEAN_UP_SECS, shield=True):
            try:
                await self._files.delete(self._owner, self._id)
            except ChorusError:
                return

    async def _take_data(self, piece: FormPiece) -> None:
        if piece.begins:
            if self._has_begun:
                raise InvalidRequest("The form has more than one file.", param="file")
            self._has_begun = True
            name = (piece.filename or "upload.jsonl")[:_MAX_NAME_CHARS]
            await self._files.create(self._owner, self._id, "batch", name)
        self._size += len(piece.data)
        if self._size > MAX_FILE_BYTES:
            raise BodyTooLarge(f"A file has at most {MAX_FILE_BYTES} bytes.", param="file")
        self._waiting += piece.data
        if len(self._waiting) >= _PIECE_BYTES:
            await self._write()

    async def _write(self) -> None:
        if self._waiting:
            data = bytes(self._waiting)
            self._waiting.clear()
            await self._files.add(self._owner, self._id, self._number, data)
            self._number += 1

    def _expiry(self) -> JSON:
        anchor, secs = (self._fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds"))
        if anchor is None and secs is None:
            return None
        is_number = secs is not None and secs.isascii() and secs.isdigit() and len(secs) < 10
        return {"anchor": anchor, "seconds": int(secs) if secs is not None and is_number else None}


def _file_body(file: StoredFile) -> dict[str, JSON]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": int(file.expires_at),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }
