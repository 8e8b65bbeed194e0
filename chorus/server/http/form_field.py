"""Where the value of one field stands in a form (`multipart/form-data`), whose bytes pass by.

Pure: bytes in, offsets out. Stricter than the parsers of upstreams are: what one of them could read
otherwise (a field twice, folded headers, escapes in a name) is refused, since the field says which
model is asked, and keys are limited to models.
"""

from __future__ import annotations

import re
from typing import Final

from python_multipart.multipart import parse_options_header

from chorus.errors import InvalidRequest

MAX_PARTS: Final = 128
_MAX_HEAD: Final = 4096
"""Bytes of the headers of one part."""
_MAX_PADDING: Final = 256
"""Blanks behind a delimiter."""
_MAX_VALUE: Final = 1024
_NAME: Final = re.compile(rb";\s*name\s*\*?[0-9]*\*?\s*=", re.IGNORECASE)
_BOUNDARY: Final = re.compile(
    rb"[\x21\x23-\x5b\x5d-\x7e]([\x20\x21\x23-\x5b\x5d-\x7e]{0,254}[\x21\x23-\x5b\x5d-\x7e])?"
)
"""Visible ASCII without quotes and backslashes, and blanks within; RFC 2046 allows 70 characters,
fewer kinds of them."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CLEAN: Final = re.compile(rb"[\x20-\x5b\x5d-\x7e\x80-\xff]+")
"""A field's name: without control characters and backslashes."""


class FieldFinder:
    """Finds the value of the field called `name`. `feed` gets the form in any pieces."""

    def __init__(self, boundary: bytes, name: str) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._name = name
        self._rest = b"\r\n"  # so that the first delimiter looks as all others
        self._offset = -2
        """Where `_rest` begins in the form."""
        self._state = self._in_preamble
        self._parts = 0
        self._is_field = False
        self._value = b""
        self._value_at = 0
        self.value: str | None = None
        """The value of the field; None while it is not whole."""
        self.start = self.end = 0
        """Where the value stands in the form."""
        self.is_over = False
        """Whether the form has ended."""

    def feed(self, data: bytes) -> None:
        """Take the next piece of the form. What follows its end is ignored.

        Raises:
            InvalidRequest: it is no form, or one that can be read in two ways.
        """
        self._rest += data
        while not self.is_over and self._state():
            pass
        if self.is_over:
            self._rest = b""

    def _skip(self, count: int) -> None:
        self._rest = self._rest[count:]
        self._offset += count

    def _in_preamble(self) -> bool:
        """Look for the first delimiter. Line ends may stand before it, and nothing else."""
        at = self._rest.find(self._delimiter)
        before = self._rest[:at] if at >= 0 else self._rest[: -len(self._delimiter)]
        if before.strip(b"\r\n") or len(before) > _MAX_HEAD:
            raise _invalid()
        if at < 0:
            return False
        self._skip(at + len(self._delimiter))
        self._state = self._behind_delimiter
        return True

    def _behind_delimiter(self) -> bool:
        """Read the end of the delimiter's line."""
        rest = self._rest
        if len(rest) < 2:
            return False
        if rest[:2] == b"--":
            self.is_over = True
            return True
        end = rest.find(b"\r\n", 0, _MAX_PADDING)
        padding = rest[:end] if end >= 0 else rest.removesuffix(b"\r")
        if padding.strip(b" \t") or len(padding) > _MAX_PADDING:
            raise _invalid()
        if end < 0:
            return False
        self._skip(end)  # the line end stays: a part may have no headers
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequest(f"The form has more than {MAX_PARTS} parts.")
        self._state = self._in_head
        return True

    def _in_head(self) -> bool:
        """Read the headers of a part."""
        end = self._rest.find(b"\r\n\r\n", 0, _MAX_HEAD)
        if end < 0:
            if len(self._rest) >= _MAX_HEAD:
                raise InvalidRequest(f"A part of the form has headers of more than {_MAX_HEAD} bytes.")
            return False
        self._is_field = self._is_of_field(self._rest[2:end])
        self._skip(end + 4)
        self._value, self._value_at = b"", self._offset
        self._state = self._in_data
        return True

    def _in_data(self) -> bool:
        """Read the data of a part, up to its delimiter."""
        at = self._rest.find(self._delimiter)
        # the last bytes may be the beginning of a delimiter
        count = at if at >= 0 else len(self._rest) - len(self._delimiter) + 1
        if self._is_field and count > 0:
            self._value += self._rest[:count]
            if len(self._value) > _MAX_VALUE:
                raise InvalidRequest(f"The field '{self._name}' is too long.", param=self._name)
        if count > 0:
            self._skip(count)
        if at < 0:
            return False
        if self._is_field:
            self._end_field()
        self._skip(len(self._delimiter))
        self._state = self._behind_delimiter
        return True

    def _end_field(self) -> None:
        if self.value is not None:
            raise InvalidRequest(f"The form has the field '{self._name}' twice.", param=self._name)
        self.start, self.end = self._value_at, self._value_at + len(self._value)
        try:
            self.value = self._value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"The field '{self._name}' is not UTF-8.", param=self._name) from None

    def _is_of_field(self, head: bytes) -> bool:
        """Return whether a part with these headers is the field."""
        lines = head.split(b"\r\n")
        dispositions = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or name.strip() != name or b"\n" in line or b"\r" in line or b"\0" in line:
                raise _invalid()
            if name.lower() == b"content-disposition":
                dispositions.append(value.strip())
        if len(dispositions) != 1 or len(_NAME.findall(dispositions[0])) != 1:
            raise InvalidRequest("A part of the form has no name, or more than one.")
        kind, options = parse_options_header(dispositions[0])
        name = options.get(b"name", b"")
        if kind != b"form-data" or not _CLEAN.fullmatch(name):
            raise InvalidRequest("A part of the form has no name that can be read.")
        is_field = name.strip().lower() == self._name.encode()
        if is_field and (b"filename" in options or name != self._name.encode()):
            raise InvalidRequest(f"The field '{self._name}' must be a plain field of this name.", param=self._name)
        return is_field


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a form with this content type; None where it is none.

    Raises:
        InvalidRequest: it is one, without a boundary that can be used.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary) or not content_type.isascii():
        raise InvalidRequest("The content type of the form has no boundary that can be used.")
    return boundary


def form_type(boundary: bytes) -> str:
    """Return the content type of a form with this boundary, which can be read in one way only."""
    text = boundary.decode("ascii")
    return (
        f"multipart/form-data; boundary={text}" if _TOKEN.fullmatch(text) else f'multipart/form-data; boundary="{text}"'
    )


def _invalid() -> InvalidRequest:
    return InvalidRequest("The request body is not a valid form (multipart/form-data).")
