"""Errors as gRPC statuses, in both directions (I1, L3).

Above: a worker ends a call with the status of an error, the gateway's provider raises the error of a
status. Below: `errors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import grpc

from chorus.errors import (
    ChorusError,
    LLMError,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
)

RETRY_AFTER: Final = "retry-after"
"""The trailing metadata that says after how many seconds to ask again."""

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
    _Code.NOT_FOUND: 404,
    _Code.PERMISSION_DENIED: 403,
    _Code.UNAUTHENTICATED: 401,
    _Code.UNIMPLEMENTED: 501,
}
_REFUSED: Final = frozenset({_Code.INVALID_ARGUMENT, _Code.OUT_OF_RANGE, _Code.FAILED_PRECONDITION})


def status_of(error: ChorusError) -> grpc.StatusCode:
    """Return the status with which a worker tells of `error`."""
    return _CODES.get(error.status, _Code.INTERNAL)


def error_of(name: str, code: grpc.StatusCode, details: str, trailing: Iterable[tuple[str, str | bytes]]) -> LLMError:
    """Return the error for a call to the model `name` that ended with `code`.

    UNAVAILABLE, INTERNAL and the like are asked of another replica; a request that is wrong is not.
    """
    if code in _REFUSED:
        return UpstreamRefused(f"Upstream '{name}' refused the request", upstream_status=400, detail=details)
    if code is _Code.RESOURCE_EXHAUSTED:
        return UpstreamRateLimited(f"Upstream '{name}' is busy", retry_after=_seconds(trailing), detail=details)
    if code is _Code.DEADLINE_EXCEEDED:
        return UpstreamTimeout(f"Upstream '{name}' took too long", detail=details)
    if code is _Code.UNAVAILABLE:
        return UpstreamConnect(f"Upstream '{name}' cannot be reached", detail=details)
    if code in (_Code.INTERNAL, _Code.UNKNOWN, _Code.DATA_LOSS, _Code.CANCELLED, _Code.ABORTED):
        return UpstreamProtocol(f"Upstream '{name}' failed ({code.name})", detail=details)
    return UpstreamStatus(
        f"Upstream '{name}' answered with {code.name}", upstream_status=_STATUSES.get(code, 502), detail=details
    )


def _seconds(trailing: Iterable[tuple[str, str | bytes]]) -> float | None:
    """The seconds of `RETRY_AFTER`; None where they are not given."""
    for key, value in trailing:
        if key == RETRY_AFTER:
            try:
                return max(0.0, float(value))
            except ValueError:
                return None
    return None
