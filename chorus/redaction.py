"""Redaction of secrets by value (S2): what an upstream says may quote our own keys.

Above: `errors.excerpt`, which every text of an upstream passes on its way into an error, and
`telemetry.log`, for what it writes at warning and above. `config.secrets` says which values a
configuration holds; `service` registers them here. Answers of models are never searched.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Final
from urllib.parse import unquote

REDACTED: Final = "[redacted]"

MIN_LENGTH: Final = 6
"""Shorter values are not searched: many texts have them by chance, and guessing is easier."""

PLACEHOLDERS: Final = frozenset(
    {"ollama", "lm-studio", "no-key", "no-key-required", "not-needed", "sk-no-key-required"}
)
"""What people write where a server wants no key.

Blotting these out would only make errors unreadable.
"""

MAX_VALUES: Final = 10_000
"""Values that are remembered.

Those of the oldest configurations are forgotten first. A run may outlive a reload, so the values of
the configuration before are still needed.
"""

_SEED: Final = 4
"""Characters by which a value is searched: one search finds all keys that begin alike."""

_MAX_DECODINGS: Final = 3
"""JSON in a JSON string in a URL: deeper than that nobody quotes by accident."""

_ESCAPE: Final = re.compile(
    r"""\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|((?:%[0-9a-fA-F]{2})+)|\\(["'/\\])|&#?[0-9a-zA-Z]{2,8};"""
)
_PARTIAL: Final = re.compile(r"(?:\\(?:u[0-9a-f]{0,3}|x[0-9a-f]?)?|%[0-9a-f]?|&#?[0-9a-z]{0,7})?\Z")
"""An escape of which the rest is missing, at the end of a text in small letters."""
_LONGEST_PARTIAL: Final = 9
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

presented: ContextVar[str] = ContextVar("presented")
"""The key with which the client of the current request came in."""


class Secrets:
    """Values that no text may hold.

    Letters are compared without case: a key in capitals is as good as the key.
    """

    def __init__(self) -> None:
        self._values: OrderedDict[str, None] = OrderedDict()
        self._groups: Mapping[str, _Group] = {}

    def add(self, values: Iterable[str]) -> None:
        """Search for `values` from now on."""
        for value in values:
            for form in _forms(value):
                self._values[form] = None
                self._values.move_to_end(form)
        while len(self._values) > MAX_VALUES:
            self._values.popitem(last=False)
        self._groups = _grouped(self._values)

    def blotted(self, text: str, *, is_cut: bool = False) -> str:
        """Return `text` with every value replaced by `[redacted]`.

        Values are also found with the escapes of JSON, Python, URLs or HTML, and where a beginning
        of at least half of one stands alone.

        `is_cut` says that the text may end in the middle of a value: then a shorter beginning at
        its end goes, too. The cost grows with the length of the text and the number of values; the
        caller bounds the text.
        """
        groups = [self._groups, _grouped(_forms(presented.get("")))]
        clean = plain = _covered(text, groups, is_cut=is_cut)
        for _ in range(_MAX_DECODINGS):
            decoded = _ESCAPE.sub(_decoded, plain)
            if decoded == plain:
                break
            plain = _covered(decoded, groups, is_cut=is_cut)
            if plain != decoded:  # only then is the decoded text the one that is shown
                clean = plain
        return clean


class _Group:
    """Values that begin with the same characters, so that one search finds where any may begin.

    What is compared there does not grow with their number.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._sorted = sorted(values)
        self._longest = max(map(len, self._sorted))
        self._whole = _by_length(self._sorted)
        self._halves = _by_length(value[: _half(value)] for value in self._sorted)

    def length_at(self, text: str, at: int, ends: Sequence[int]) -> int:
        """Return how many characters at `at` are to be covered.

        0 for none. `ends` are the places where the text may be cut.
        """
        longest = max((size for size, values in self._whole if text[at : at + size] in values), default=0)
        for end in ends:
            if at + _SEED <= end < at + self._longest and self._common(text[at:end]) == end - at:
                return len(text) - at
        if any(text[at : at + size] in halves for size, halves in self._halves):
            longest = max(longest, self._common(text[at : at + self._longest]))
        return longest

    def _common(self, text: str) -> int:
        """Return the length of the longest beginning that `text` shares with a value.

        That value is one of its neighbours in their order.
        """
        place = bisect_left(self._sorted, text)
        return max(_shared(text, value) for value in self._sorted[max(place - 1, 0) : place + 1])


KNOWN: Final = Secrets()
"""The secrets of this process."""


def _forms(value: str) -> set[str]:
    """Return how a plain text may have `value`: unchanged, single-spaced, with `+` for spaces."""
    value = value.strip().translate(_LOWER)
    if len(value) < MIN_LENGTH or value in PLACEHOLDERS:
        return set()
    words = value.split()
    return {value, " ".join(words), "+".join(words)}


def _shared(one: str, other: str) -> int:
    """Return how many characters both begin with."""
    for place, (this, that) in enumerate(zip(one, other, strict=False)):
        if this != that:
            return place
    return min(len(one), len(other))


def _half(value: str) -> int:
    """Return how much of a value may not be shown."""
    return min(max((len(value) + 1) // 2, MIN_LENGTH), len(value))


def _by_length(texts: Iterable[str]) -> list[tuple[int, set[str]]]:
    groups: dict[int, set[str]] = {}
    for text in texts:
        groups.setdefault(len(text), set()).add(text)
    return list(groups.items())


def _grouped(values: Iterable[str]) -> dict[str, _Group]:
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(value[:_SEED], []).append(value)
    return {seed: _Group(group) for seed, group in groups.items()}


def _covered(text: str, groups: Sequence[Mapping[str, _Group]], *, is_cut: bool) -> str:
    """`text` with every value, and every larger beginning of one, replaced."""
    lowered = text.translate(_LOWER)
    ends = (len(lowered), _end_of_whole_characters(lowered)) if is_cut else ()
    spans: list[tuple[int, int]] = []
    for seed, group in (item for by_seed in groups for item in by_seed.items()):
        at = lowered.find(seed)
        while at >= 0:
            length = group.length_at(lowered, at, ends)
            if length:
                spans.append((at, at + length))
            at = lowered.find(seed, at + max(length, 1))
    if not spans:
        return text
    parts: list[str] = []
    done = 0
    for begin, end in sorted(spans):
        if begin >= done:
            parts += (text[done:begin], REDACTED)
        done = max(done, end)
    return "".join((*parts, text[done:]))


def _end_of_whole_characters(text: str) -> int:
    """Return where `text` ends without the escape that was cut in its middle."""
    tail = text[-_LONGEST_PARTIAL:]
    partial = _PARTIAL.search(tail)
    return len(text) - len(tail) + (partial.start() if partial is not None else len(tail))


def _decoded(escape: re.Match[str]) -> str:
    """Return the characters that an escape stands for; a space for what cannot be shown."""
    unicode, byte, percent, quoted = escape.groups()
    if unicode or byte:
        plain = chr(int(unicode or byte, 16))
    elif percent:
        plain = unquote(percent, errors="replace")
    else:
        plain = quoted or html.unescape(escape[0])
    return (
        plain if plain.isprintable() else "".join(character if character.isprintable() else " " for character in plain)
    )
