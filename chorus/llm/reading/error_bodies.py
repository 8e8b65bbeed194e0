"""Read what went wrong from an upstream's error, in whatever structure it stands (L3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final

from chorus.llm.reading.lenient import value_of
from chorus.llm.reading.surrogates import mend
from chorus.wirejson import JSON

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes of an error body that are read. A caller is shown a few words of it."""
_MAX_REASONS: Final = 5
"""Reasons of one body that the error names."""
_MAX_LEVELS: Final = 6
"""Objects in objects that are looked through."""
_MAX_ENTRIES: Final = 20
"""Entries of a list that are looked through."""

_HOLDERS: Final = ("error", "errors", "message", "Message", "msg", "detail", "details", "error_description", "errorMessage",
    "error_message", "reason", "title", "description", "__type")  # fmt: skip
"""Fields that hold a reason, or an object that does.

The best first. FastAPI has `detail`, Mistral `message.detail`, AWS `message`, `Message` or, where
there is neither, the `__type` of its exception.
"""

_TITLE: Final = re.compile(r"<(title|h1)\b[^>]{0,200}>([^<]{1,300})<", re.IGNORECASE)


def error_text(body: bytes) -> str:
    """Return what an error body says: JSON of any provider's shape, HTML or plain text."""
    try:
        value = value_of(body)
    except ValueError:
        text = body[:MAX_ERROR_BODY].decode("utf-8", "replace").strip()
        return _page_title(text) if text[:1] == "<" else _event_data(text)
    return error_message(value)


def error_message(error: JSON) -> str:
    """Return what an `error` field, or a whole error body, says: its text, or those of the objects
    in it.
    """
    reasons: list[str] = []
    for reason in _reasons(error, _MAX_LEVELS):
        if reason not in reasons:
            reasons.append(reason)
        if len(reasons) == _MAX_REASONS:
            break
    return mend("; ".join(reasons))[0]


def _reasons(value: JSON, levels: int) -> Iterator[str]:
    if isinstance(value, str):
        if text := value.strip():
            yield from _of_text(text, levels)
    elif isinstance(value, list) and levels:
        for entry in value[:_MAX_ENTRIES]:
            yield from _reasons(entry, levels - 1)
    elif isinstance(value, dict) and levels:
        yield from _of_object(value, levels - 1)


def _of_text(text: str, levels: int) -> Iterator[str]:
    """Yield a text, or what it says where it is JSON itself, as gateways quote what is behind
    them.
    """
    if levels and text[0] in "{[" and len(text) <= MAX_ERROR_BODY:
        try:
            inner = list(_reasons(value_of(text.encode("utf-8", "surrogatepass")), levels - 1))
        except ValueError:
            inner = []
        if inner:
            yield from inner
            return
    yield _page_title(text) if text[:1] == "<" else text


def _of_object(value: dict[str, Any], levels: int) -> Iterator[str]:
    reasons: list[str] = []
    for name in _HOLDERS:
        if name in value and (reasons := list(_reasons(value[name], levels))):
            break
    described = value.get("error_description")
    # OAuth's, whose `error` is a code
    if isinstance(value.get("error"), str) and isinstance(described, str):
        reasons.append(described)
    if isinstance(value.get("errors"), dict):  # ASP.NET's: lists of reasons by field
        reasons += _of_fields(value["errors"], levels)
    place = value.get("loc")
    if reasons and isinstance(place, list):  # FastAPI's: which field it is about
        where = ".".join(str(step) for step in place[:8] if isinstance(step, str | int))
        reasons[0] = f"{where}: {reasons[0]}" if where else reasons[0]
    yield from reasons
    metadata = value.get("metadata")
    if isinstance(metadata, dict):  # OpenRouter's: what the provider behind it said
        provider = metadata.get("provider_name")
        for raw in _reasons(metadata.get("raw"), levels):
            yield f"{provider}: {raw}" if isinstance(provider, str) and provider else raw
    details = value.get("details")
    if reasons and isinstance(details, list):  # Google's: which fields are wrong
        for detail in details[:_MAX_ENTRIES]:
            yield from _violations(detail, levels)


def _of_fields(fields: dict[str, Any], levels: int) -> Iterator[str]:
    for name, reasons in list(fields.items())[:_MAX_ENTRIES]:
        if name not in _HOLDERS and isinstance(reasons, list):
            for reason in _reasons(reasons, levels):
                yield f"{name}: {reason}"


def _violations(detail: JSON, levels: int) -> Iterator[str]:
    if not isinstance(detail, dict):
        return
    violations = detail.get("fieldViolations")
    if isinstance(violations, list):
        for violation in violations[:_MAX_ENTRIES]:
            yield from _reasons(violation, levels)
    else:
        yield from _reasons({name: detail[name] for name in ("message", "detail") if name in detail}, levels)


def _event_data(text: str) -> str:
    """Return the data of an error that came as an event of a stream."""
    for line in text.split("\n", 20)[:20]:
        if line.startswith("data:"):
            return error_text(line[5:].strip().encode())
    return text


def _page_title(page: str) -> str:
    title = _TITLE.search(page[:4096])
    said = " ".join(unescape(title[2]).split()) if title is not None else ""
    return f"(an HTML page: {said})" if said else "(an HTML page)"
