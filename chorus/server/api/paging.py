"""Query parameters of lists, and their answers, as OpenAI has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from chorus.errors import InvalidRequest
from chorus.storage.records import Order
from chorus.wirejson import JSON


def page_order(given: str | None) -> Order:
    """Return the order that `order` names.

    Descending where it is missing. Raises InvalidRequest.
    """
    if given not in ("asc", "desc", None):
        raise InvalidRequest("Invalid value for 'order': expected 'asc' or 'desc'.", param="order")
    return cast(Order, given or "desc")


def page_limit(given: str | None, default: int, most: int) -> int:
    """Return the number that `limit` names, `default` where it is missing.

    Raises InvalidRequest.
    """
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(most)) and 1 <= int(given) <= most):
        raise InvalidRequest(f"Invalid value for 'limit': expected a whole number from 1 to {most}.", param="limit")
    return int(given)


def page_body(data: Sequence[JSON], *, has_more: bool) -> dict[str, JSON]:
    """Return a list object with the objects `data`."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def expiry_secs(given: JSON, param: str, default: float) -> float:
    """Return the seconds that OpenAI's `expires_after` names. Raises InvalidRequest."""
    if given is None:
        return default
    secs = given.get("seconds") if isinstance(given, dict) else None
    if isinstance(secs, bool) or not isinstance(secs, int) or not 3600 <= secs <= 2_592_000:
        raise InvalidRequest(
            f"Invalid value for '{param}.seconds': expected 3600 to 2592000.", param=f"{param}.seconds"
        )
    if given.get("anchor") != "created_at":
        raise InvalidRequest(f"Invalid value for '{param}.anchor': expected 'created_at'.", param=f"{param}.anchor")
    return float(secs)
