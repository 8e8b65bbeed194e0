"""Which models are of one family, by the names that their upstreams give them. Pure."""

from __future__ import annotations

import re
from typing import Final

_KNOWN: Final = {
    "gpt": ("gpt", "davinci"),
    "claude": ("claude",),
    "gemini": ("gemini", "gemma"),
    "llama": ("llama",),
    "qwen": ("qwen", "qwq"),
    "deepseek": ("deepseek",),
    "mistral": ("mistral", "mixtral", "ministral", "magistral", "codestral", "devstral", "pixtral"),
    "kimi": ("kimi", "moonshot"),
    "glm": ("glm",),
    "grok": ("grok",),
    "phi": ("phi-", "phi3", "phi4"),
    "command": ("command",),
    "nova": ("nova-",),
}
"""What the names of a family's models hold."""
_OPENAI: Final = re.compile(r"o\d")


def family_of(model: str, provider: str = "") -> str:
    """Return the family of the model that its upstream calls `model`: `qwen` for `Qwen/Qwen3-8B`.

    A model that was distilled from another one is of both: the first that its name holds counts.
    Of an unknown name it is the letters that it begins with; each demo model is a family of its
    own.
    """
    name = model.lower().rpartition("/")[2]
    if provider == "demo":
        return name
    if _OPENAI.match(name):
        return "gpt"
    places = {
        family: min((name.find(mark) for mark in marks if mark in name), default=-1) for family, marks in _KNOWN.items()
    }
    known = [(place, family) for family, place in places.items() if place >= 0]
    if known:
        return min(known)[1]
    letters = re.match(r"[^\W\d_]+", name)
    return letters.group() if letters else name
