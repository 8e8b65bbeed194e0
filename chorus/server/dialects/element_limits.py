"""How many messages, parts and calls a request may have: each costs microseconds of Python on the
event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chorus.errors import InvalidRequest
from chorus.types import ChatRequest, Message

MAX_ELEMENTS: Final = 20_000
"""Messages, content parts, tool calls and tools of one request: 60 ms of the event loop.

A coding agent that fills a window of a million tokens has some thousands.
"""


def check_elements(requests: Sequence[ChatRequest]) -> None:
    """Refuse a request of too many elements before it is run; the cost is 0.1 µs an element.

    Raises:
        InvalidRequest: it has more than `MAX_ELEMENTS`.
    """
    for request in requests:
        if sum(map(_elements, request.messages)) + len(request.tools) > MAX_ELEMENTS:
            raise InvalidRequest(f"The request has more than {MAX_ELEMENTS} messages, content parts, calls and tools.")


def _elements(message: Message) -> int:
    parts = 0 if isinstance(message.content, str) else len(message.content)
    return 1 + parts + len(message.tool_calls)
