"""Provider fields of an answer (`types.Extra`) in the places that Responses has for them (A3).

Citations become `annotations` of the text and images `image_generation_call` items. All others are
sealed into a reasoning item, so that they come back with the next turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chorus.server.dialects.citations import mappings
from chorus.types import RESPONSES_ITEMS, Extra
from chorus.wirejson import JSON

_PLACED: Final = frozenset(
    {
        *("annotations", "audio", "citations", "images", "logprobs", "phase", "refusal", "search_results"),
        RESPONSES_ITEMS,
    }
)
"""Fields that need not come back: they have a place of their own."""


def images_of(extra: Extra) -> list[str]:
    """Return the images in base64."""
    images = []
    for entry in mappings(extra.get("images")):
        image = entry.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
            images.append(url.split(";base64,", 1)[1])
    return images


def provider_fields(extra: Extra) -> dict[str, JSON]:
    """Return the fields that a provider may need back.

    Of sound that is its id, by which OpenAI knows it again.
    """
    needed = {key: value for key, value in extra.items() if key not in _PLACED and value not in (None, [], {}, "")}
    audio = extra.get("audio")
    if isinstance(audio, Mapping) and isinstance(audio.get("id"), str):
        needed["audio"] = {"id": audio["id"]}
    return needed


def items_of(extra: Extra) -> list[dict[str, Any]]:
    """Return the items of tools that an upstream behind the Responses API has run itself."""
    return [dict(entry["item"]) for entry in mappings(extra.get(RESPONSES_ITEMS)) if "item" in entry]


def logprobs_of(logprobs: JSON) -> list[dict[str, Any]]:
    """Return log probabilities of chat as those of an `output_text`."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return [
        {**_logprob(token), "top_logprobs": [_logprob(other) for other in mappings(token.get("top_logprobs"))]}
        for token in mappings(content)
    ]


def _logprob(entry: Mapping[str, Any]) -> dict[str, Any]:
    token = entry.get("token")
    text = token if isinstance(token, str) else ""
    return {"token": text, "logprob": entry.get("logprob"), "bytes": entry.get("bytes") or list(text.encode())}
