"""Parts of messages as content blocks of the Messages API. Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from chorus.errors import UnsupportedFeature
from chorus.types import Extra, Image, Opaque, Part, Text
from chorus.wirejson import JSON

Block = dict[str, Any]
_TYPES: Final = {"iVBO": "image/png", "/9j/": "image/jpeg", "R0lG": "image/gif", "UklG": "image/webp"}
"""Types of images by the first three bytes, which are four letters of base64."""
_MAX_TEXT_FILE: Final = 4 * 1024 * 1024
"""Bytes of a text file that goes out as a text document."""


def blocks_of(content: str | Iterable[Part], warn: Callable[[str], None]) -> list[Block]:
    """Return the blocks of a content. Texts of white space only are left out: the API refuses them.

    Raises:
        UnsupportedFeature: a part is of a kind that no model of Anthropic's reads, such as sound.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    return [block for part in content for block in _of_part(part, warn)]


def _of_part(part: Part, warn: Callable[[str], None]) -> Iterator[Block]:
    if isinstance(part, Text):
        if part.text.strip():
            yield {"type": "text", "text": part.text, **marked(part.extra)}
    elif isinstance(part, Image):
        yield {"type": "image", "source": source_of(part.url, "image/png"), **marked(part.extra)}
    else:
        yield _of_opaque(part, warn)


def _of_opaque(part: Opaque, warn: Callable[[str], None]) -> Block:
    kind, file = part.data.get("type"), part.data.get("file")
    if kind != "file" or not isinstance(file, Mapping):
        raise UnsupportedFeature(f"A model of Anthropic's reads no part of the type '{kind}'.", param="messages")
    data, name = file.get("file_data"), file.get("filename")
    title = {"title": name} if isinstance(name, str) and name else {}
    if not isinstance(data, str) or not data:
        raise UnsupportedFeature("A file for a model of Anthropic's has to be in the request.", param="messages")
    if not data.startswith(("data:", "http:", "https:")):
        data = f"data:application/pdf;base64,{data}"
    source = source_of(data, "application/pdf")
    if source.get("media_type", "").startswith("image/"):
        return {"type": "image", "source": source}
    if source["type"] == "base64" and source["media_type"] != "application/pdf":
        source = _text_source(source["data"], source["media_type"])
    return {"type": "document", "source": source, **title, **marked(part.data)}


def _text_source(data: str, media_type: str) -> dict[str, str]:
    """Return a text file as the API takes one: as a text."""
    try:
        if len(data) * 3 // 4 > _MAX_TEXT_FILE:
            raise ValueError
        text = b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise UnsupportedFeature(
            f"A model of Anthropic's reads PDF and text files, and none of type '{media_type}'.", param="messages"
        ) from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def source_of(url: str, default_type: str) -> dict[str, str]:
    """Return the source of an image or document: inline as base64, else by its address."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:")):
        return {"type": "url", "url": url}
    media_type = head[len("data:") :].partition(";")[0] or default_type
    known = _TYPES.get(data[:4])  # what the image is: the API refuses a name that is not true
    if known is None:
        known = "image/jpeg" if media_type == "image/jpg" else media_type
    return {"type": "base64", "media_type": known, "data": data}


def marked(extra: Extra) -> dict[str, JSON]:
    """Return the `cache_control` of a part, the only extra field that a block takes."""
    mark = extra.get("cache_control")
    return {"cache_control": mark} if mark else {}
