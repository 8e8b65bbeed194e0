"""What each generation of Claude takes: thinking, efforts, sampling, length. Pure.

Sources: Anthropic's pages on models, thinking, effort and structured outputs, November 2026. What a
refusal teaches at run time stands in `learning`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from chorus.llm.providers.traits import family

ThinkingKind = Literal["none", "budget", "adaptive"]
"""How thinking is asked for: not at all, by `budget_tokens`, or by `adaptive` and an effort."""
Off = Literal["omitted", "disabled", "between_tools", "never"]
"""How thinking is switched off: by saying nothing, by `disabled`, by `between_tools`, or not."""

_NEW: Final = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[.-](\d{1,2}))?(?!\d)")
_OLD: Final = re.compile(r"claude-(\d{1,2})(?:[.-](\d{1,2}))?(?:-(opus|sonnet|haiku))?(?!\d)")

_LOW_TO_HIGH: Final = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Family:
    """What one model takes."""

    max_tokens: int
    """Most tokens of an answer; also what is asked for where the request names no length, since the
    field is required."""
    thinking: ThinkingKind = "none"
    off: Off = "omitted"
    efforts: tuple[str, ...] = ()
    """Values of `output_config.effort`; empty: the field is refused."""
    samples: bool = True
    """Whether `temperature`, `top_p` and `top_k` are taken."""
    takes_both: bool = True
    """Whether `temperature` and `top_p` are taken together."""
    structured: bool = False
    """Whether `output_config.format` and strict tools are taken."""
    prefills: bool = True
    """Whether a conversation may end with the beginning of an answer."""
    is_known: bool = True


_UNKNOWN: Final = Family(8_192, "budget", is_known=False)
"""A model that is no Claude: several providers have an endpoint in Anthropic's shape."""


def family_of(model: str) -> Family:
    """Return the family of `model`, as the upstream names it.

    Newer ones than are known here count as the newest.
    """
    name = family(model).removeprefix("anthropic.")
    if (new := _NEW.match(name)) is not None:
        return _of(new[1], int(new[2]), int(new[3] or 0))
    if (old := _OLD.match(name)) is not None:
        return _of(old[3] or "", int(old[1]), int(old[2] or 0))
    if name.startswith("claude-mythos"):  # the preview
        return _of("mythos", 5, 0)
    return _of("opus", 99, 0) if name.startswith("claude-") else _UNKNOWN


def _of(line: str, major: int, minor: int) -> Family:
    version = (major, minor)
    if version < (3, 7):
        return Family(4_096 if version < (3, 5) else 8_192)
    if version < (4, 6):
        return Family(
            32_000 if line == "opus" and version < (4, 5) else 64_000,
            "budget",
            efforts=_LOW_TO_HIGH if line == "opus" and version >= (4, 5) else (),
            takes_both=version < (4, 1),
            structured=version >= (4, 5) or (line == "opus" and version >= (4, 1)),
        )
    efforts: tuple[str, ...] = (*_LOW_TO_HIGH, "max")
    if version == (4, 6):
        return Family(128_000, "adaptive", efforts=efforts, takes_both=False, structured=True, prefills=False)
    return Family(
        128_000,
        "adaptive",
        _off(line, version),
        (*_LOW_TO_HIGH, "xhigh", "max"),
        samples=False,
        takes_both=False,
        structured=True,
        prefills=False,
    )


def _off(line: str, version: tuple[int, int]) -> Off:
    """Return how a model that only thinks adaptively is kept from it.

    Those before 5 do not think unasked.
    """
    if line in ("fable", "mythos"):
        return "never"
    if version < (5, 0):
        return "omitted"
    if version < (5, 5):
        return "disabled"
    by_line: dict[str, Off] = {"opus": "never", "sonnet": "between_tools"}
    return by_line.get(line, "disabled")
