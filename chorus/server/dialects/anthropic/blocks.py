"""The content blocks of Anthropic's dialect as parts in our words.

Blocks of tools that run on Anthropic's machines have no place in other dialects: their text is kept
where there is some, else they are left out with a warning. One of them never refuses the
conversation that it stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from chorus.errors import InvalidRequest
from chorus.server.dialects.warnings import Warnings
from chorus.types import Extra, Image, Opaque, Part, Text
from chorus.wirejson import JSON

_TEXT_FIELDS: Final = ("text", "title", "url", "stdout", "stderr", "content", "error_code")
"""Where the blocks of server tools hold what can be read, in the order in which it is written."""
_MAX_DEPTH: Final = 6
"""How deep the texts of a block are looked for: a result of a code execution in a list is three
levels.
"""


def parts_of(block: Mapping[str, JSON], place: str, warnings: Warnings) -> Iterator[Part]:
    """Return the parts that stand for `block`, which stands at `place`.

    None with a sentence in `warnings`.

    Raises:
        InvalidRequest: a text, image or document is malformed; `param` names its field.
    """
    kind = block.get("type")
    extra = _extra(block)
    if kind == "text":
        yield Text(string(block, "text", place, empty=True), extra)
        if block.get("citations"):
            warnings.add(f"`{place}.citations` is left out.")
    elif kind == "image":
        yield from _image(block, place, extra, warnings)
    elif kind == "document":
        yield from _document(block, place, extra, warnings)
    elif kind == "search_result":
        words = [texts_of(block.get(key)) for key in ("title", "source", "content")]
        yield Text("\n".join(filter(None, words)), extra)
    elif text := texts_of({key: value for key, value in block.items() if key in _TEXT_FIELDS}):
        yield Text(text, extra)
        warnings.add(f"`{place}` is sent as text: this type of block is not supported here.")
    else:
        warnings.add(f"`{place}` is left out: this type of block is not supported here.")


def result_of(block: Mapping[str, JSON], place: str, warnings: Warnings) -> str | tuple[Part, ...]:
    """Return the content of a tool's result.

    Images and files stay parts; a failed one says so in its text.
    """
    content = block.get("content")
    listed = content if isinstance(content, list) else [content] if isinstance(content, Mapping) else None
    parts: list[Part] = []
    if isinstance(content, str):
        parts.append(Text(content))
    for index, entry in enumerate(listed or ()):
        here = f"{place}.content[{index}]"
        if isinstance(entry, str):
            parts.append(Text(entry))
        elif not isinstance(entry, Mapping):
            raise InvalidRequest(f"Invalid value for '{here}': expected a block.", param=here)
        elif entry.get("type") == "tool_reference":
            parts.append(Text(f"Tool: {entry.get('tool_name', '')}"))
        else:
            parts.extend(parts_of(entry, here, warnings))
    if block.get("is_error"):
        first = parts[0] if parts and isinstance(parts[0], Text) else None
        rest = parts[1:] if first is not None else parts
        text, kept = (first.text, first.extra) if first is not None else ("", {})
        parts = [Text(f"Error: {text}", kept), *rest]
    if extra := _extra(block):
        *before, last = parts or [Text("")]
        parts = [*before, _marked(last, extra)]
    if all(isinstance(part, Text) and not part.extra for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return tuple(parts)


def _marked(part: Part, extra: Extra) -> Part:
    """Return `part` with these fields as well."""
    if isinstance(part, Text):
        return Text(part.text, {**extra, **part.extra})
    if isinstance(part, Image):
        return Image(part.url, part.detail, {**extra, **part.extra})
    return Opaque({**extra, **part.data})


def _image(block: Mapping[str, JSON], place: str, extra: Extra, warnings: Warnings) -> Iterator[Part]:
    source = _source(block, place)
    kind = source.get("type")
    if kind == "url":
        yield Image(string(source, "url", f"{place}.source"), extra=extra)
    elif kind == "file":
        yield _uploaded("An image", place, extra, warnings)
    else:
        data = string(source, "data", f"{place}.source")
        yield Image(f"data:{source.get('media_type') or 'image/png'};base64,{data}", extra=extra)


def _document(block: Mapping[str, JSON], place: str, extra: Extra, warnings: Warnings) -> Iterator[Part]:
    """Return a document: texts are written out, a PDF is a file in OpenAI's shape."""
    source = _source(block, place)
    kind = source.get("type")
    title = block.get("title") if isinstance(block.get("title"), str) else None
    context = block.get("context") if isinstance(block.get("context"), str) else None
    head = [f"Document: {title}" if title else "", context or ""]
    if kind == "text":
        words = [*head, string(source, "data", f"{place}.source", empty=True)]
        yield Text("\n".join(filter(None, words)), extra)
    elif kind == "content":
        if any(head):
            yield Text("\n".join(filter(None, head)))
        content = source.get("content")
        if isinstance(content, str):
            yield Text(content, extra)
        for index, entry in enumerate(content if isinstance(content, list) else ()):
            if isinstance(entry, Mapping):
                yield from parts_of(entry, f"{place}.source.content[{index}]", warnings)
    elif kind == "file":
        yield _uploaded("A document", place, extra, warnings)
    else:
        if context:
            yield Text(context)
        if kind == "url":
            address = string(source, "url", f"{place}.source")
        else:
            data = string(source, "data", f"{place}.source")
            address = f"data:{source.get('media_type') or 'application/pdf'};base64,{data}"
        file = {"filename": title or "document.pdf", "file_data": address}
        yield Opaque({"type": "file", "file": file, **extra})
    if isinstance(block.get("citations"), Mapping) and block["citations"].get("enabled"):
        warnings.add(f"`{place}.citations` is left out: answers cite nothing here.")


def _uploaded(what: str, place: str, extra: Extra, warnings: Warnings) -> Text:
    """Return what stands for a file that was uploaded to Anthropic, which nobody else can read."""
    warnings.add(f"`{place}.source` is left out: files of Anthropic's Files API are not to be had here.")
    return Text(f"[{what} that was uploaded elsewhere is not available.]", extra)


def _source(block: Mapping[str, JSON], place: str) -> Mapping[str, JSON]:
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise InvalidRequest(f"Invalid value for '{place}.source': expected an object.", param=f"{place}.source")
    return source


def _extra(block: Mapping[str, JSON]) -> dict[str, JSON]:
    mark = block.get("cache_control")
    return {"cache_control": mark} if mark else {}


def texts_of(value: JSON, depth: int = 0) -> str:
    """Return what can be read in `value`: a string, a block, or a list of them."""
    if isinstance(value, str):
        return value
    if depth >= _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "\n".join(filter(None, (texts_of(entry, depth + 1) for entry in value)))
    if isinstance(value, Mapping):
        return "\n".join(filter(None, (texts_of(value.get(key), depth + 1) for key in _TEXT_FIELDS)))
    return ""


def string(block: Mapping[str, JSON], key: str, place: str, *, empty: bool = False) -> str:
    """Return the string in a field of `block`, which stands at `place`.

    Raises:
        InvalidRequest: there is none, or it is not to be `empty` and is.
    """
    value = block.get(key)
    if not isinstance(value, str) or not (value or empty):
        raise InvalidRequest(f"Invalid value for '{place}.{key}': expected a string.", param=f"{place}.{key}")
    return value
