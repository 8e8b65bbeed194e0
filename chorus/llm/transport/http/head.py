"""The head of a response: its headers and bounds, and how its body ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chorus.llm.transport.http.errors import ClientResponseError

MAX_HEAD: Final = 64 * 1024
"""Bytes of a response that belong to no body, in a row: its head, a chunk's extensions, its
trailers.
"""
MAX_HEAD_LINES: Final = 1000


def headers_of(lines: Sequence[tuple[bytes, bytes]], size: int) -> dict[str, str]:
    """Return the headers by names in lower case; of several with one name, the first.

    `size` is the count of bytes that they came with, at least their own.

    Raises:
        ClientResponseError: they are too many, or too long.
    """
    if len(lines) > MAX_HEAD_LINES or (size > MAX_HEAD and sum(len(n) + len(v) + 4 for n, v in lines) > MAX_HEAD):
        raise ClientResponseError("the head is too long")
    headers: dict[str, str] = {}
    for name, value in lines:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape").rstrip(" \t"))
    return headers


def ends_with_connection(headers: Mapping[str, str]) -> bool:
    """Return whether the body has no length and is not chunked (RFC 9112, 6.3)."""
    coding = headers.get("transfer-encoding", "").lower().rpartition(",")[2].strip()
    return coding != "chunked" and ("content-length" not in headers or bool(coding))
