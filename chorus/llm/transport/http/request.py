"""The head of a request as bytes."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from yarl import URL

_FORBIDDEN: Final = re.compile("[\r\n\0]")
"""In a header's value: it would begin another header or another request."""
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, 5.6.2)."""
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
"""Headers that the client itself writes: any other value than its own cuts the request in two."""


def request_head(method: str, url: URL, headers: Mapping[str, str]) -> bytes:
    """Return the request line and the headers of a request, without `content-length` and the empty
    line.

    Of two headers with the same name in different letter cases the later one counts. A user and
    password in `url` become `authorization: Basic`.

    Raises:
        ValueError: a header cannot be sent, or both `url` and `headers` hold credentials.
    """
    fields = {"host": ("Host", url.host_port_subcomponent or ""), "accept": ("Accept", "*/*")}
    fields |= {name.lower(): (name, value) for name, value in headers.items() if name.lower() not in _FRAMING}
    if url.user is not None or url.password is not None:
        if "authorization" in fields:
            raise ValueError("the address has a password, and there is an authorization header")
        credentials = f"{url.user or ''}:{url.password or ''}".encode()
        fields["authorization"] = ("Authorization", f"Basic {b64encode(credentials).decode()}")
    lines = (header_line(name, value) for name, value in fields.values())
    return f"{method} {url.raw_path_qs} HTTP/1.1\r\n{''.join(lines)}".encode()


def header_line(name: str, value: str) -> str:
    """Return `name: value` and a line end.

    Raises:
        ValueError: the name is no token, or the value holds a line end or NUL.
    """
    if not _NAME.fullmatch(name) or _FORBIDDEN.search(value):
        raise ValueError("a header holds characters that cannot be sent")
    return f"{name}: {value}\r\n"
