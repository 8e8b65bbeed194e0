"""The files of the page, read once: a request looks a name up in a table and reads no file."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

INDEX: Final = "index.html"

_TYPES: Final = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "png": b"image/png",
    "svg": b"image/svg+xml",
    "woff2": b"font/woff2",
}
"""Types by the end of a name. A file with another end is not served."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes as they are sent, and the tag that is theirs alone."""

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its type and its bodies. `compressed` is None where gzip makes it no smaller."""

    content_type: bytes
    plain: Body
    compressed: Body | None


def read_assets() -> Mapping[str, Asset]:
    """Return every file of the page by its path below `/ui/`. For a thread: it takes 20 ms."""
    return dict(_below(files("chorus.server.web") / "static", ""))


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _below(entry, f"{name}/")
        elif (content_type := _TYPES.get(entry.name.rpartition(".")[2])) is not None:
            yield name, _asset(entry.read_bytes(), content_type)


def _asset(data: bytes, content_type: bytes) -> Asset:
    digest = hashlib.sha256(data).hexdigest()[:32]
    packed = gzip.compress(data, mtime=0)
    # a strong tag stands for the same bytes, so each of the two has its own (RFC 9110, 8.8.1)
    compressed = Body(packed, f'"{digest}-gzip"') if len(packed) < len(data) else None
    return Asset(content_type, Body(data, f'"{digest}"'), compressed)
