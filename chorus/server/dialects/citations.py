"""The citations of an answer in one shape, whatever field its provider has them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chorus.types import Extra
from chorus.wirejson import JSON

_MAX_ANNOTATIONS: Final = 1000


def annotations_of(extra: Extra) -> list[dict[str, Any]]:
    """The citations of a text. Chat nests their fields in one named by their type; providers also list addresses."""
    found = [_annotation(each) for each in mappings(extra.get("annotations"))]
    sources = {each["url"]: each for each in mappings(extra.get("search_results")) if isinstance(each.get("url"), str)}
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


def mappings(value: JSON) -> Iterable[Mapping[str, Any]]:
    """The objects of a list; none where `value` is something else."""
    return (each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else ()


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
