"""`X-Chorus-Warning`: which parts of a request were left out or converted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MAX_BYTES: Final = 1024
"""Longest header value: proxies refuse responses with long headers."""


def warning_header(warnings: Sequence[str]) -> bytes:
    """Return the sentences as one header value: visible ASCII, cut at 1,024 bytes."""
    text = " ".join(warnings).encode("ascii", "replace")
    clean = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in text[:_MAX_BYTES])
    return clean if len(text) <= _MAX_BYTES else clean[:-3] + b"..."
