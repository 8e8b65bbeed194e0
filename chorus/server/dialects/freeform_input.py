"""The one text argument of a freeform tool, read out of the JSON arguments while they arrive."""

from __future__ import annotations

import json
import re
from typing import Final

from chorus import wirejson
from chorus.wirejson import JSON

_OPENING: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_MAX_OPENING: Final = 64
"""Characters in which the text has to begin; later text is read when the arguments are whole."""
_HIGH: Final = "[dD][89abAB][0-9a-fA-F]{2}"
_WHOLE: Final = re.compile(
    r'(?:[^"\\]|\\[^u]|\\u(?:'
    + _HIGH
    + r"\\u[0-9a-fA-F]{4}|"
    + _HIGH
    + r"(?!\\?\Z|\\u[0-9a-fA-F]{0,3}\Z)|(?![dD][89abAB])[0-9a-fA-F]{4}))*+"
)
"""Characters and escapes of a JSON string that are whole; a surrogate pair is one escape."""


class FreeformInput:
    """Reads `{"input": "..."}` in pieces."""

    def __init__(self) -> None:
        self._waiting = ""
        """Arguments that are not read yet."""
        self._all: list[str] = []
        self._is_open: bool | None = None
        """Whether the text is arriving; None before it is known where it begins."""
        self._sent: list[str] = []

    def feed(self, piece: str) -> str:
        """Return the text that `piece` makes known."""
        self._all.append(piece)
        if self._is_open is False:
            return ""
        self._waiting += piece
        if self._is_open is None and not self._begins():
            return ""
        matched = _WHOLE.match(self._waiting)
        end = matched.end() if matched is not None else 0
        raw, rest = self._waiting[:end], self._waiting[end:]
        self._waiting = rest
        if rest.startswith('"'):
            self._is_open = False
        return self._send(raw)

    def end(self) -> tuple[str, str]:
        """Return the text that was not sent yet, and the whole text.

        Arguments of another shape are the text themselves.
        """
        sent, whole = "".join(self._sent), _text_of(self.arguments)
        return (whole[len(sent) :], whole) if whole.startswith(sent) else ("", sent)

    @property
    def arguments(self) -> str:
        """The arguments so far, as they arrived."""
        return "".join(self._all)

    def _begins(self) -> bool:
        matched = _OPENING.match(self._waiting)
        if matched is None:
            if len(self._waiting) > _MAX_OPENING:
                self._is_open = False
            return False
        self._waiting = self._waiting[matched.end() :]
        self._is_open = True
        return True

    def _send(self, raw: str) -> str:
        try:
            text = str(_decoded(f'"{raw}"')) if raw else ""
        except ValueError:  # an escape that JSON does not have: read when it is whole
            self._is_open = False
            return ""
        self._sent.append(text)
        return text


def _text_of(arguments: str) -> str:
    """Return the text of whole arguments."""
    try:
        value = _decoded(arguments)
    except ValueError:
        return arguments
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        texts = [text for text in (value.get("input"), *value.values()) if isinstance(text, str)]
        return texts[0] if texts else ("" if not value else arguments)
    return arguments


def _decoded(text: str) -> JSON:
    """Return a JSON value in which models may leave line breaks unescaped and surrogates unpaired.

    Raises ValueError.
    """
    try:
        return wirejson.decode(text)
    except ValueError:
        try:
            lenient = json.loads(text, strict=False)
        except RecursionError:
            raise ValueError("nested too deep") from None
    # surrogates without their other half cannot be written as UTF-8
    return wirejson.decode(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))
