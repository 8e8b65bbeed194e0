"""Content of Responses items as parts of messages: texts, images, files and audio (A3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from chorus.errors import InvalidRequest
from chorus.server.dialects.warnings import Warnings
from chorus.types import Extra, Image, Opaque, Part, Text
from chorus.wirejson import JSON

TEXTS: Final = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text"})
PARTS: Final = TEXTS | {
    "input_image",
    "image_url",
    "refusal",
    "input_file",
    "file",
    "input_audio",
    "audio",
    "video_url",
}
"""The types of parts that are understood."""
_TEXT_TYPES: Final = ("text/", "application/json", "application/xml", "application/yaml", "application/toml")
_TEXT_ENDINGS: Final = (
    ".c .cfg .conf .cpp .css .csv .go .h .hpp .html .ini .java .js .json .jsonl .kt .log .lua .md .php .py .rb .rs .rst "
    ".sh .sql .swift .tex .toml .ts .tsv .tsx .txt .xml .yaml .yml"
)
_ENDINGS: Final = tuple(_TEXT_ENDINGS.split())


def content(value: JSON, place: str, warnings: Warnings) -> str | tuple[Part, ...]:
    """Return content as text where it is nothing but text.

    Raises:
        InvalidRequest: a part has not the shape of its type; `param` names it.
    """
    if type(value) is str:
        return value
    if type(value) is list and len(value) == 1 and (text := _plain_text(value[0])) is not None:
        return text  # of most messages: a third of the time
    read = tuple(parts(value, place, warnings))
    if all(isinstance(part, Text) and not part.extra for part in read):
        return "\n".join(part.text for part in read if isinstance(part, Text))
    return read


def parts(value: JSON, place: str, warnings: Warnings) -> Iterator[Part]:
    """Return the parts in `value`, however deeply nested.

    Raises InvalidRequest as `content` does.
    """
    if value is None:
        return
    if isinstance(value, str):
        yield Text(value)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from parts(item, f"{place}[{position}]", warnings)
    elif isinstance(value, Mapping):
        yield from _part(value, place, warnings)
    else:
        raise InvalidRequest(f"Invalid value for '{place}': expected text or parts.", param=place)


def _part(part: Mapping[str, Any], place: str, warnings: Warnings) -> Iterator[Part]:
    kind = part.get("type", "text")
    if kind in ("input_image", "image_url"):
        yield _image(part, place)
    elif kind == "refusal":
        yield Text(str(part.get("refusal", "")))
    elif kind in ("input_file", "file"):
        yield _file(part, place)
    elif kind in ("input_audio", "audio", "video_url"):
        yield Opaque(dict(part))
    elif kind == "message":
        yield from parts(part.get("content"), f"{place}.content", warnings)
    elif isinstance(kind, str) and kind in TEXTS:
        yield from _text(part, place, warnings)
    elif isinstance(text := part.get("text"), str):
        yield Text(text)
    else:
        warnings.add("input: a content part of an unknown type is left out.")


def _text(part: Mapping[str, Any], place: str, warnings: Warnings) -> Iterator[Part]:
    text = part.get("text", part.get("content"))
    if isinstance(text, list | Mapping):
        yield from parts(text, place, warnings)
    elif isinstance(text, str):
        yield Text(text, _kept(part))
    else:
        raise InvalidRequest(f"Invalid value for '{place}.text': expected a string.", param=f"{place}.text")


def _plain_text(part: JSON) -> str | None:
    """Return the text of a part with a text only; None for any other."""
    if type(part) is not dict or part.get("cache_control") is not None:
        return None
    kind, text = part.get("type", "text"), part.get("text")
    return text if type(kind) is str and kind in TEXTS and type(text) is str else None


def _image(part: Mapping[str, Any], place: str) -> Image:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not url:
        raise InvalidRequest(
            f"Invalid value for '{place}.image_url': expected an address; images by file id are not kept here.",
            param=f"{place}.image_url",
        )
    detail = part.get("detail", image.get("detail") if isinstance(image, Mapping) else None)
    return Image(url, detail if isinstance(detail, str) and detail != "auto" else None, _kept(part))


def _file(part: Mapping[str, Any], place: str) -> Part:
    """Return a text file as text.

    Another as a part in chat's shape, for upstreams that take files.
    """
    inner = part.get("file")
    file = inner if isinstance(inner, Mapping) else part
    wanted = ("filename", "file_data", "file_id", "file_url")
    fields = {key: file[key] for key in wanted if isinstance(file.get(key), str) and file[key]}
    if not fields.keys() - {"filename"}:
        raise InvalidRequest(f"Invalid value for '{place}': expected file_data, file_url or file_id.", param=place)
    text = _text_of_file(fields.get("file_data", ""), fields.get("filename", ""))
    if text is None:
        return Opaque({"type": "file", "file": fields, **_kept(part)})
    name = fields.get("filename")
    return Text(f"File {name}:\n{text}" if name else text, _kept(part))


def _text_of_file(data: str, name: str) -> str | None:
    """Return the text of a file in base64 or in a `data:` URL; None where it is no text."""
    media, payload, is_base64 = "", data, True
    if data.startswith("data:") and "," in data:
        head, payload = data[len("data:") :].split(",", 1)
        media, is_base64 = head.split(";", 1)[0].strip().lower(), head.endswith(";base64")
    is_named_text = not media or media == "application/octet-stream"
    if not data or not (name.lower().endswith(_ENDINGS) if is_named_text else media.startswith(_TEXT_TYPES)):
        return None
    try:
        raw = base64.b64decode(payload, validate=True) if is_base64 else unquote_to_bytes(payload)
        return raw.decode("utf-8-sig")
    except (binascii.Error, ValueError):
        return None


def _kept(part: Mapping[str, Any]) -> Extra:
    """Return the fields that belong to a provider."""
    return {"cache_control": part["cache_control"]} if part.get("cache_control") is not None else {}
