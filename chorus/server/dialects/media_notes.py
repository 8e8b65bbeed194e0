"""Images and sound of an answer in words, for dialects that have no place for them: nothing is
dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from chorus.types import Extra
from chorus.wirejson import JSON

_MOST: Final = 20
"""Images that are named one by one."""
_LONGEST_URL: Final = 2000
"""Characters of an address that a note repeats."""


def notes(extra: Extra, *, inline_images: bool = True) -> str:
    """Return a sentence or a link for each image, and what was spoken.

    Empty where there is neither. Without `inline_images` those in `data:` URLs are left out: the
    dialect has a place for them.
    """
    images = extra.get("images")
    urls = [_url(image) for image in images] if isinstance(images, list) else []
    if not inline_images:
        urls = [url for url in urls if not url.startswith("data:")]
    lines = [_image(url) for url in urls[:_MOST]]
    if len(urls) > _MOST:
        lines.append(f"[{len(urls) - _MOST} more images are left out.]")
    audio = extra.get("audio")
    if isinstance(audio, Mapping):
        lines.extend(_audio(audio))
    return "\n\n".join(lines)


def with_notes(text: str, extra: Extra) -> str:
    """Return `text` with the notes behind it."""
    return "\n\n".join(filter(None, (text, notes(extra)))) if extra else text


def appended(text: str, note: str) -> str:
    """Return `note` as it goes out behind a `text` that has gone out already."""
    return f"\n\n{note}" if text and note else note


def links(extra: Extra) -> str:
    """Return the notes of images alone that are not inline."""
    return notes({"images": extra["images"]}, inline_images=False) if extra.get("images") else ""


def _url(image: JSON) -> str:
    inner = image.get("image_url", image.get("url")) if isinstance(image, Mapping) else image
    url = inner.get("url") if isinstance(inner, Mapping) else inner
    return url if isinstance(url, str) else ""


def _scheme(url: str) -> str:
    """Return the scheme of a URL.

    Empty where it is none, or could not stand in a link of Markdown.
    """
    if not url.isprintable() or any(character in url for character in " ()<>"):
        return ""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _image(url: str) -> str:
    if url.startswith("data:"):
        kind, _, data = url[5:].partition(",")
        return f"[An image ({_name_of(kind)}, {_size(data)}) is left out: this protocol has no images in answers.]"
    if _scheme(url) in ("http", "https") and len(url) <= _LONGEST_URL:
        return f"![image]({url})"
    return "[An image is left out: this protocol has no images in answers.]"


def _audio(audio: Mapping[str, JSON]) -> list[str]:
    """Return what was spoken, and that the sound itself is not here."""
    transcript, data = audio.get("transcript"), audio.get("data")
    lines = [transcript] if isinstance(transcript, str) and transcript else []
    if isinstance(data, str) and data:
        lines.append(f"[Sound ({_size(data)}) is left out: this protocol has no sound in answers.]")
    return lines


def _name_of(kind: str) -> str:
    name = kind.partition(";")[0]
    return name if 0 < len(name) <= 40 and name.replace("/", "").replace("+", "").isalnum() else "unknown"


def _size(base64: str) -> str:
    return f"{max(1, len(base64) * 3 // 4 // 1000)} kB"
