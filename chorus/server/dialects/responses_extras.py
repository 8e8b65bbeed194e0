"""Provider fields of an answer (`types.Extra`) in the places that Responses has for them (A3).

Citations become `annotations` of the text and images `image_generation_call` items. All others are sealed into a
reasoning item, so that they come back with the next turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chorus.types import Extra
from chorus.wirejson import JSON

_PLACED: Final = frozenset({"annotations", "audio", "citations", "images", "logprobs", "refusal", "search_results"})
"""Fields that need not come back: they have a place of their own."""
_MAX_ANNOTATIONS: Final = 1000


def annotations_of(extra: Extra) -> list[dict[str, Any]]:
    """The citations of a text. Chat nests their fields in one named by their type; providers also list addresses."""
    found = [_annotation(each) for each in _mappings(extra.get("annotations"))]
    sources = {each["url"]: each for each in _mappings(extra.get("search_results")) if isinstance(each.get("url"), str)}
    addresses = extra.get("citations")
    for each in addresses if isinstance(addresses, list) else ():
        if isinstance(each, str):
            sources.setdefault(each, {"url": each})
        elif isinstance(each, Mapping) and isinstance(each.get("url"), str):
            sources.setdefault(each["url"], each)
    known = {each.get("url") for each in found}
    found += [
        _url_citation({"url": url, "title": source.get("title")}) for url, source in sources.items() if url not in known
    ]
    return found[:_MAX_ANNOTATIONS]


def images_of(extra: Extra) -> list[str]:
    """The images in base64."""
    found = []
    for each in _mappings(extra.get("images")):
        image = each.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
            found.append(url.split(";base64,", 1)[1])
    return found


def to_be_sealed(extra: Extra) -> dict[str, JSON]:
    """The fields that a provider may need back. Of sound that is its id, by which OpenAI knows it again."""
    needed = {key: value for key, value in extra.items() if key not in _PLACED and value not in (None, [], {}, "")}
    audio = extra.get("audio")
    if isinstance(audio, Mapping) and isinstance(audio.get("id"), str):
        needed["audio"] = {"id": audio["id"]}
    return needed


def logprobs_of(logprobs: JSON) -> list[dict[str, Any]]:
    """Log probabilities of chat as those of an `output_text`."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return [
        {**_logprob(each), "top_logprobs": [_logprob(other) for other in _mappings(each.get("top_logprobs"))]}
        for each in _mappings(content)
    ]


def _logprob(entry: Mapping[str, Any]) -> dict[str, Any]:
    token = entry.get("token")
    text = token if isinstance(token, str) else ""
    return {"token": text, "logprob": entry.get("logprob"), "bytes": entry.get("bytes") or list(text.encode())}


def _annotation(annotation: Mapping[str, Any]) -> dict[str, Any]:
    kind = annotation.get("type")
    inner = annotation.get(kind) if isinstance(kind, str) else None
    flat = {"type": kind, **(inner if isinstance(inner, Mapping) else annotation)}
    return _url_citation(flat) if kind in (None, "url_citation") else flat


def _url_citation(fields: Mapping[str, Any]) -> dict[str, Any]:
    """With every field that OpenAI's types require."""
    return {
        **fields,
        "type": "url_citation",
        "start_index": fields.get("start_index") or 0,
        "end_index": fields.get("end_index") or 0,
        "url": fields.get("url") or "",
        "title": fields.get("title") or "",
    }


def _mappings(value: JSON) -> Iterable[Mapping[str, Any]]:
    return (each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else ()
