"""What the scripted upstream remembers of each request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Recorded:
    """One request as it arrived, and what became of it. Times are `time.monotonic()` seconds."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Names in lower case; the last of a repeated header wins."""
    body: bytes
    connection: int
    """Which connection it came on, counted from 1."""
    started_at: float
    """When the whole request was in."""
    finished_at: float | None = None
    """When the last byte was handed to the kernel; None for exchanges that the client cut short."""
    closed_by_peer_at: float | None = None
    """When the client closed the connection before the exchange was over."""
    json: Any = field(default=None, init=False)
    """The body parsed, None where it is not JSON."""

    def __post_init__(self) -> None:
        try:
            self.json = json.loads(self.body) if self.body else None
        except ValueError:
            self.json = None

    @property
    def model(self) -> str:
        """The model that the body names, or ""."""
        name = self.json.get("model") if isinstance(self.json, dict) else None
        return name if isinstance(name, str) else ""

    @property
    def is_over(self) -> bool:
        """Answered to the end, or given up by the client."""
        return self.finished_at is not None or self.closed_by_peer_at is not None

    @property
    def was_cancelled(self) -> bool:
        """The client left before the exchange was over."""
        return self.closed_by_peer_at is not None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat messages, or []."""
        messages = self.json.get("messages") if isinstance(self.json, dict) else None
        return messages if isinstance(messages, list) else []

    @property
    def text(self) -> str:
        """All text of the messages or the prompt, system prompt included, joined with newlines."""
        if not self.messages:
            prompt = self.json.get("prompt", "") if isinstance(self.json, dict) else ""
            return "\n".join(map(str, prompt)) if isinstance(prompt, list) else str(prompt)
        return "\n".join(_text_of(message.get("content")) for message in self.messages)

    @property
    def last_user_text(self) -> str:
        """The text of the last message."""
        return _text_of(self.messages[-1].get("content")) if self.messages else self.text


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return ""
