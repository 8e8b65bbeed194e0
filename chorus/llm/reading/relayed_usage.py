"""The usage in an answer that is relayed, of whatever kind: of a JSON text, or of the last event of
a stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from chorus.llm.counts import count_of
from chorus.usage import Usage
from chorus.wirejson import JSON

WHOLE_BYTES: Final = 256 * 1024
"""An answer of so many bytes is read as a whole; of a longer one, its end: the usage stands behind
images."""
TAIL_BYTES: Final = 16 * 1024
_KEYS: Final = (b'"usage":', b'"usage" :', b'"meta":')


class _Fields(msgspec.Struct):
    usage: JSON = None
    meta: JSON = None


_read: Final = msgspec.json.Decoder(_Fields).decode


class UsageReader:
    """Reads the usage of one answer, whose bytes pass by. Answers that are neither JSON nor a
    stream of events have none."""

    def __init__(self, content_type: str) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        self._is_stream = kind == "text/event-stream"
        self._is_read = self._is_stream or kind == "application/json" or kind.endswith("+json")
        self._limit = TAIL_BYTES if self._is_stream else WHOLE_BYTES
        self._held = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> None:
        """Take the next piece of the answer."""
        if not self._is_read:
            return
        self._held += data
        if len(self._held) > self._limit:
            self._is_cut = True
            self._limit = 4 * TAIL_BYTES  # so that few pieces move what is held
            del self._held[:-TAIL_BYTES]

    def usage(self) -> Usage | None:
        """Return the usage of the answer, which is whole; None where it says none."""
        text = bytes(self._held)
        if self._is_stream:
            text = _last_event(text)
        elif self._is_cut:
            text = text[-TAIL_BYTES:]
        fields = _decoded(text)
        if fields is None and (self._is_cut or self._is_stream):
            fields = _of_tail(text)
        return _usage(fields) if fields is not None else None


def _last_event(text: bytes) -> bytes:
    """Return the data of the last event that is not `[DONE]`, or the end of it."""
    for line in reversed(text.splitlines()):
        data = line.removeprefix(b"data:").strip()
        if data and data != b"[DONE]" and not line.startswith((b":", b"event:", b"id:", b"retry:")):
            return data
    return b""


def _of_tail(text: bytes) -> _Fields | None:
    """Read the end of an object from its usage on. Where that belongs to an inner object, what
    follows has brackets too many, and is no JSON."""
    for key in _KEYS:
        at = text.rfind(key)
        if at >= 0 and (fields := _decoded(b"{" + text[at:])) is not None:
            return fields
    return None


def _decoded(text: bytes) -> _Fields | None:
    try:
        return _read(text)
    except (ValueError, RecursionError):
        return None


def _usage(fields: _Fields) -> Usage | None:
    """OpenAI's, Jina's and vLLM's `usage`; Cohere's `meta`, which has `tokens` and
    `billed_units`."""
    meta = fields.meta if isinstance(fields.meta, Mapping) else {}
    for counts in (fields.usage, meta.get("tokens"), meta.get("billed_units")):
        if isinstance(counts, Mapping) and (usage := _counted(counts)) is not None:
            return usage
    return None


def _counted(counts: Mapping[str, JSON]) -> Usage | None:
    prompt = _first(counts, "input_tokens", "prompt_tokens")
    completion = _first(counts, "output_tokens", "completion_tokens")
    total = count_of(counts.get("total_tokens"))
    if prompt is None and completion is None and total is None:
        return None
    if prompt is None:
        prompt = max((total or 0) - (completion or 0), 0)
    if completion is None:
        completion = max((total or 0) - prompt, 0)
    details = counts.get("input_tokens_details")
    cached = count_of(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    return Usage(prompt, completion, min(cached or 0, prompt))


def _first(counts: Mapping[str, JSON], *names: str) -> int | None:
    return next((count for name in names if (count := count_of(counts.get(name))) is not None), None)
