"""The lines of a batch: read from a file's pieces, checked, and answered (M7)."""

from __future__ import annotations

import codecs
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from chorus.storage.records import LineResult
from chorus.wirejson import JSON

MAX_LINES: Final = 50_000
"""As OpenAI has it."""
_MAX_ID_CHARS: Final = 512
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

NumberedLine = tuple[int, bytes | None]
"""The number of a line in its file, from 0, and its bytes.

None for a line that is too long to be read.
"""


class BatchLine(msgspec.Struct, frozen=True):
    """One request of a batch."""

    custom_id: str
    body: bytes
    model: str


class LineProblem(msgspec.Struct, frozen=True):
    """Why a line is no request. `custom_id` is None where it has none that could be read."""

    code: str
    message: str
    param: str | None = None
    custom_id: str | None = None


class LineSplitter:
    """Lines from pieces of a file. Empty ones are left out, and counted."""

    def __init__(self, max_bytes: int) -> None:
        """A line of more than `max_bytes` is too long."""
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._is_too_long = False
        self._number = 0

    def feed(self, pieces: Iterable[bytes], *, is_last: bool) -> list[NumberedLine]:
        """Return the lines that end in `pieces`."""
        lines: list[NumberedLine] = []
        for piece in pieces:
            first, *others = piece.split(b"\n")
            self._extend(first)
            for text in others:
                self._end(lines)
                self._extend(text)
        if is_last:
            self._end(lines)
        return lines

    def _extend(self, text: bytes) -> None:
        if len(self._rest) + len(text) > self._max_bytes:
            self._is_too_long = True
            self._rest.clear()
        elif not self._is_too_long:
            self._rest += text

    def _end(self, lines: list[NumberedLine]) -> None:
        text = bytes(self._rest)
        if self._number == 0:
            text = text.removeprefix(codecs.BOM_UTF8)
        if self._is_too_long:
            lines.append((self._number, None))
        elif not text.isspace() and text:
            lines.append((self._number, text))
        self._rest.clear()
        self._is_too_long = False
        self._number += 1


class _Fields(msgspec.Struct):
    custom_id: Any = None
    method: Any = None
    url: Any = None
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    background: Any = None


def read_line(text: bytes | None, endpoint: str) -> BatchLine | LineProblem:
    """Return the request that a line of a batch for `endpoint` makes."""
    if text is None:
        return LineProblem("line_too_long", "This line is too long ([server] max_body_bytes).")
    try:
        fields = msgspec.json.decode(text, type=_Fields)
    except msgspec.ValidationError:
        return LineProblem("invalid_request", "This line is not a JSON object.")
    except _UNREADABLE:
        return LineProblem("invalid_json_line", "This line is not parseable as valid JSON.")
    id = fields.custom_id
    if not isinstance(id, str) or not 0 < len(id) <= _MAX_ID_CHARS:
        return LineProblem(
            "invalid_custom_id", f"A line needs a 'custom_id' of 1 to {_MAX_ID_CHARS} characters.", "custom_id"
        )
    if fields.method != "POST":
        return LineProblem("invalid_method", "The 'method' of a line must be POST.", "method", id)
    if fields.url != endpoint:
        return LineProblem(
            "url_mismatch", f"The 'url' of this line is not the endpoint of its batch, {endpoint}.", "url", id
        )
    try:
        body = msgspec.json.decode(fields.body, type=_Body)
    except _UNREADABLE:
        return LineProblem("invalid_body", "A line needs a 'body', which is a JSON object.", "body", id)
    if body.stream or body.background:
        name = "stream" if body.stream else "background"
        return LineProblem("unsupported_parameter", f"'{name}' is not for batches.", f"body.{name}", id)
    return BatchLine(id, bytes(fields.body), body.model if isinstance(body.model, str) else "")


class LineChecks:
    """The check of all lines of a batch, part by part, in a worker thread."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._ids: set[str] = set()
        self.lines = 0
        """How many there are."""
        self.problems = 0
        """How many of them are no requests."""
        self.model = ""
        """The model of the first request."""

    def check(self, lines: Sequence[NumberedLine]) -> list[tuple[int, LineProblem]]:
        """Return what is wrong with `lines`, the next of their file."""
        problems: list[tuple[int, LineProblem]] = []
        for number, text in lines:
            line = read_line(text, self._endpoint)
            if line.custom_id is not None and line.custom_id in self._ids:
                sentence = "Another line of this batch has the same 'custom_id'."
                line = LineProblem("duplicate_custom_id", sentence, "custom_id", line.custom_id)
            if line.custom_id is not None:
                self._ids.add(line.custom_id)
            if isinstance(line, LineProblem):
                problems.append((number, line))
            elif not self.model:
                self.model = line.model
        self.lines += len(lines)
        self.problems += len(problems)
        return problems


def problem_result(number: int, problem: LineProblem) -> LineResult:
    """Return the line of the error file for a line that is not run."""
    error = {"code": problem.code, "message": problem.message, "param": problem.param, "line": number + 1}
    return LineResult(number, True, _result(problem.custom_id, None, error))


def answer_result(number: int, custom_id: str, status: int, request_id: str, body: bytes) -> LineResult:
    """Return the line for an answer: of the error file where its status says so."""
    response = {"status_code": status, "request_id": request_id, "body": msgspec.Raw(body)}
    is_error = status >= 400
    return LineResult(number, is_error, _result(custom_id, response, None), (0, 0, 0, 0) if is_error else _tokens(body))


class _Details(msgspec.Struct):
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class _Usage(msgspec.Struct):
    """OpenAI's two ways to write it: of chat, completions and embeddings, and of responses."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Used(msgspec.Struct):
    usage: _Usage | None = None


def _tokens(body: bytes) -> tuple[int, int, int, int]:
    """Return what an answer says of its tokens; see `LineResult`."""
    try:
        usage = msgspec.json.decode(body, type=_Used).usage or _Usage()
    except msgspec.DecodeError:
        usage = _Usage()
    read = usage.prompt_tokens_details or usage.input_tokens_details or _Details()
    written = usage.completion_tokens_details or usage.output_tokens_details or _Details()
    return (
        usage.prompt_tokens or usage.input_tokens,
        read.cached_tokens,
        usage.completion_tokens or usage.output_tokens,
        written.reasoning_tokens,
    )


def in_groups(results: Sequence[LineResult], size: int = 500) -> Iterator[Sequence[LineResult]]:
    """Return `results` in groups that are written at once."""
    for first in range(0, len(results), size):
        yield results[first : first + size]


def _result(custom_id: str | None, response: JSON, error: JSON) -> bytes:
    line = {
        "id": f"batch_req_{secrets.token_hex(12)}",
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return msgspec.json.encode(line) + b"\n"
