"""Reasoning as one opaque signed string, which a client sends back with the next turn.

Agents keep `encrypted_content` (Responses) and `signature` (Anthropic) as they came and drop
reasoning without them. The value holds the reasoning and the provider's own fields
(`reasoning_details`, thought signatures), so that an upstream that demands them back gets them. It
is signed, not encrypted: the client has read the reasoning anyway.

The key is `process_secret`'s. A value that another key signed is unknown, never an error.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import zlib
from typing import Final

from chorus import wirejson
from chorus.process_secret import signature
from chorus.types import Extra

MAX_BYTES: Final = 1024 * 1024
"""Most bytes of reasoning and fields as JSON in one value: 10 ms of compression."""
_PREFIX: Final = "chorus1."
_TAG_BYTES: Final = 16


def seal(reasoning: str, extra: Extra) -> str:
    """Return `reasoning` and `extra` as an opaque value.

    An empty string where they have more than `MAX_BYTES`.
    """
    content = wirejson.encode([reasoning, dict(extra)])
    if len(content) > MAX_BYTES:
        return ""
    packed = zlib.compress(content, 1)
    return _PREFIX + base64.urlsafe_b64encode(_tag(packed) + packed).decode("ascii")


def unseal(value: str) -> tuple[str, Extra] | None:
    """Return the reasoning and fields in `value`. None where this key has not signed it."""
    if not value.startswith(_PREFIX) or len(value) > 2 * MAX_BYTES or not value.isascii():
        return None
    try:
        raw = base64.urlsafe_b64decode(value[len(_PREFIX) :])
    except binascii.Error:
        return None
    tag, packed = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(packed)):
        return None
    try:
        reasoning, extra = wirejson.decode(zlib.decompressobj().decompress(packed, MAX_BYTES))
    except (ValueError, zlib.error):  # fields nested to the limit are beyond it inside of a value
        return None
    return reasoning, extra


def _tag(packed: bytes) -> bytes:
    return signature(packed)[:_TAG_BYTES]
