"""Errors as gRPC statuses, in both directions (I1, L3).

Above: a worker ends a call with the status of an error, the gateway's provider raises the error of
a status. Below: `errors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import grpc

from chorus.errors import (
    ChorusError,
    ContentFiltered,
    LLMError,
    Stopping,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
)
from chorus.llm.base import ConnectionClosed

RETRY_AFTER: Final = "retry-after"
"""The trailing metadata that says after how many seconds to ask again."""
ERROR_CODE: Final = "chorus-code"
"""The trailing metadata with the code of the error (`ChorusError.code`): gRPC's own statuses are
few, and some of them are also what a lost connection comes to.
"""

Progress = Literal["unconnected", "sent", "begun"]
"""How far a call has come: no connection, the request was sent, something of the answer was
there.
"""

_Code = grpc.StatusCode

_CODES: Final = {
    400: _Code.INVALID_ARGUMENT,
    404: _Code.NOT_FOUND,
    429: _Code.RESOURCE_EXHAUSTED,
    501: _Code.UNIMPLEMENTED,
    503: _Code.UNAVAILABLE,
    504: _Code.DEADLINE_EXCEEDED,
}
_STATUSES: Final = {
    _Code.UNAUTHENTICATED: 401,
    _Code.PERMISSION_DENIED: 403,
    _Code.NOT_FOUND: 404,
    _Code.ALREADY_EXISTS: 409,
}
"""Statuses that say nothing of a request but are no fault of the replica; all others are a 500."""
_REFUSED: Final = {
    _Code.INVALID_ARGUMENT: 400,
    _Code.OUT_OF_RANGE: 400,
    _Code.FAILED_PRECONDITION: 400,
    _Code.UNIMPLEMENTED: 501,
}
_TOO_LARGE: Final = "larger than max"
"""Of gRPC's words for a message beyond a limit, which has the status of a full queue."""


def status_of(error: ChorusError) -> grpc.StatusCode:
    """Return the status with which a worker tells of `error`."""
    if isinstance(error, UpstreamConnect):
        return _Code.UNAVAILABLE  # of the server behind its engine
    return _CODES.get(error.status, _Code.INTERNAL)


def error_of(
    name: str,
    code: grpc.StatusCode,
    details: str,
    trailing: Iterable[tuple[str, str | bytes]] = (),
    progress: Progress = "sent",
) -> LLMError:
    """Return the error for a call to the model `name` that ended with `code`.

    UNAVAILABLE, INTERNAL and the like are asked of another replica; a request that is wrong is not.
    """
    metadata = dict(tuple(trailing))  # gRPC's own type is no mapping
    if metadata.get(ERROR_CODE) == ContentFiltered.code:
        return ContentFiltered(f"Upstream '{name}' stopped the answer by its content filter")
    if code in _REFUSED:
        return UpstreamRefused(f"Upstream '{name}' refused the request", upstream_status=_REFUSED[code], detail=details)
    if code is _Code.RESOURCE_EXHAUSTED:
        return _exhausted(name, details, metadata)
    if code is _Code.DEADLINE_EXCEEDED:
        return UpstreamTimeout(f"Upstream '{name}' took too long", detail=details)
    if code is _Code.UNAVAILABLE:
        return _unavailable(name, details, metadata, progress)
    status = _STATUSES.get(code, 500)
    return UpstreamStatus(f"Upstream '{name}' answered with {code.name}", upstream_status=status, detail=details)


def _unavailable(name: str, details: str, metadata: dict[str, str | bytes], progress: Progress) -> LLMError:
    """Return the error for what a worker says where it is stopping, and gRPC where the connection
    is lost.
    """
    if ERROR_CODE in metadata:
        status = 503 if metadata[ERROR_CODE] == Stopping.code else 502
        return UpstreamStatus(f"Upstream '{name}' is not available", upstream_status=status, detail=details)
    if progress == "unconnected":
        return UpstreamConnect(f"Upstream '{name}' cannot be reached", detail=details)
    if progress == "sent":
        return ConnectionClosed(f"Upstream '{name}' closed its connection without an answer", detail=details)
    return UpstreamProtocol(f"Upstream '{name}' broke off its answer", detail=details)


def _exhausted(name: str, details: str, metadata: dict[str, str | bytes]) -> LLMError:
    """Return the error for a full queue, or for a message that is larger than one side takes."""
    if _TOO_LARGE in details:
        if "CLIENT:" in details:
            return UpstreamProtocol(f"Upstream '{name}' sent a message that is too large", detail=details)
        return UpstreamRefused(
            f"Upstream '{name}' does not take a request of this size", upstream_status=413, detail=details
        )
    if "metadata size" in details:
        return UpstreamProtocol(f"Upstream '{name}' sent metadata that is too large", detail=details)
    return UpstreamRateLimited(f"Upstream '{name}' is busy", retry_after=_seconds(metadata), detail=details)


def _seconds(metadata: dict[str, str | bytes]) -> float | None:
    """Return the seconds of `RETRY_AFTER`; None where they are not given."""
    try:
        return max(0.0, float(metadata[RETRY_AFTER]))
    except (KeyError, ValueError):
        return None
