"""The citations of an answer in one shape, whatever field its provider has them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chorus.types import Extra
from chorus.wirejson import JSON

_MAX_ANNOTATIONS: Final = 1000


def annotations_of(extra: Extra) -> list[dict[str, Any]]:
    """Return the citations of a text.

    Chat nests their fields in one named by their type; providers also list addresses.
    """
    annotations = [_annotation(entry) for entry in mappings(extra.get("annotations"))]
    sources = {
        entry["url"]: entry for entry in mappings(extra.get("search_results")) if isinstance(entry.get("url"), str)
    }
    addresses = extra.get("citations")
    for entry in addresses if isinstance(addresses, list) else ():
        if isinstance(entry, str):
            sources.setdefault(entry, {"url": entry})
        elif isinstance(entry, Mapping) and isinstance(entry.get("url"), str):
            sources.setdefault(entry["url"], entry)
    known = {entry.get("url") for entry in annotations}
    annotations += [
        _url_citation({"url": url, "title": source.get("title")}) for url, source in sources.items() if url not in known
    ]
    return annotations[:_MAX_ANNOTATIONS]


def mappings(value: JSON) -> Iterable[Mapping[str, Any]]:
    """Return the objects of a list; none where `value` is something else."""
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else ()


def _annotation(annotation: Mapping[str, Any]) -> dict[str, Any]:
    kind = annotation.get("type")
    inner = annotation.get(kind) if isinstance(kind, str) else None
    flat = {"type": kind, **(inner if isinstance(inner, Mapping) else annotation)}
    return _url_citation(flat) if kind in (None, "url_citation") else flat


def _url_citation(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a citation of a page with every field that OpenAI's types require."""
    return {
        **fields,
        "type": "url_citation",
        "start_index": fields.get("start_index") or 0,
        "end_index": fields.get("end_index") or 0,
        "url": fields.get("url") or "",
        "title": fields.get("title") or "",
    }
