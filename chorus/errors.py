"""Every error Chorus raises on purpose, and what a caller sees of it.

    ChorusError                        status  code
    ├── InvalidRequest                 400     invalid_request
    │   ├── MissingInput               400     missing_input
    │   └── UnsupportedFeature         400     unsupported_feature
    ├── InvalidKey                     401     invalid_api_key
    ├── ForbiddenRoute                 403     forbidden_route
    ├── ForbiddenModel                 403     forbidden_model
    ├── ForbiddenHost                  403     forbidden_host
    ├── ForbiddenOrigin                403     forbidden_origin
    ├── UnknownModel                   404     model_not_found
    ├── NotFound                       404     not_found
    ├── MethodNotAllowed               405     method_not_allowed
    ├── RequestTimeout                 408     request_timeout
    ├── BodyTooLarge                   413     body_too_large
    ├── UnsupportedEncoding            415     unsupported_encoding
    ├── RateLimited                    429     rate_limit_exceeded
    ├── TooManyRuns                    429     too_many_runs
    ├── BudgetSpent                    429     budget_spent
    ├── BudgetExhausted                429     budget_exhausted
    ├── QueueFull                      429     queue_full
    ├── QueueTimeout                   503     queue_timeout
    ├── HeadersTooLarge                431     headers_too_large
    ├── ClientGone                     499     client_closed_request     (logged, never sent)
    │   └── RunCancelled               499     run_cancelled
    ├── Internal                       500     internal_error
    ├── NotSupported                   501     not_supported
    ├── AllWorkersFailed               502     all_workers_failed
    ├── AnswerTooLong                  502     answer_too_long
    ├── Stopping                       503     server_stopping
    ├── StorageUnavailable             503     storage_unavailable
    ├── DeadlineExceeded               504     deadline_exceeded
    ├── LLMError                       502     upstream_error
    │   ├── UpstreamUnavailable        503     upstream_unavailable
    │   ├── UpstreamConnect            502     upstream_connect
    │   ├── UpstreamTimeout            504     upstream_timeout
    │   ├── UpstreamStatus             502     upstream_status
    │   │   ├── UpstreamRefused        400     upstream_refused          (the request itself was refused)
    │   │   └── UpstreamRateLimited    429     upstream_rate_limited
    │   ├── UpstreamProtocol           502     upstream_protocol
    │   └── ContentFiltered            400     content_filter
    └── ConfigError                    (exit code 2; never on the wire)

`status` and `code` are class attributes; `server/http/errors.py` alone turns them into a response.
A message is a plain sentence that never holds a key, a prompt, a traceback or an upstream's raw
body (S2), and never starts as JSON does: ollama's Python client parses error texts that look like
JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from chorus.redaction import KNOWN, REDACTED

MAX_RETRY_AFTER_SECS: Final = 86_400.0
"""The longest time that a caller is asked to wait: a day.

An upstream may name any number, such as 1e300.
"""


class ChorusError(Exception):
    """Base of all typed errors.

    `message` is for the caller; `param` names the offending field, if one does; `retry_after` is
    how many seconds to wait before another try makes sense, where somebody knows.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retryable_by_client: bool = True
    """False sends `x-should-retry: false`: Chorus has tried everything, and a retry only costs."""

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = _encodable(message)
        self.param = _encodable(param) if param is not None else None
        self.retry_after = None if retry_after is None else sane_wait(retry_after)

    @property
    def log_message(self) -> str:
        """The message as logs may hold it."""
        return self.message

    def for_another(self) -> Self:
        """Return the same error for another caller, without what an upstream said.

        It is an object of its own, since an error that is raised collects its own traceback. What
        an upstream said may quote somebody else's text.
        """
        twin = type(self).__new__(type(self), self.log_message)
        vars(twin).update(vars(self))
        twin.message = self.log_message
        return twin


class InvalidRequest(ChorusError):
    status = 400
    code = "invalid_request"


class MissingInput(InvalidRequest):
    code = "missing_input"


class UnsupportedFeature(InvalidRequest):
    code = "unsupported_feature"


class InvalidKey(ChorusError):
    status = 401
    code = "invalid_api_key"


class ForbiddenRoute(ChorusError):
    status = 403
    code = "forbidden_route"


class ForbiddenModel(ChorusError):
    status = 403
    code = "forbidden_model"


class ForbiddenHost(ChorusError):
    status = 403
    code = "forbidden_host"


class ForbiddenOrigin(ChorusError):
    status = 403
    code = "forbidden_origin"


class UnknownModel(ChorusError):
    """Nothing has the client's `name`; the message holds its first 100 characters."""

    status = 404
    code = "model_not_found"

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        name = name if len(name) <= 100 else f"{name[:100]}…"
        hint = f", did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(f"model '{name}' not found{hint}", param="model")
        self.nearest = tuple(nearest)


class NotFound(ChorusError):
    status = 404
    code = "not_found"


class MethodNotAllowed(ChorusError):
    """`allow` lists the methods that are (RFC 9110, 15.5.6)."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.allow = tuple(allow)


class RequestTimeout(ChorusError):
    status = 408
    code = "request_timeout"


class BodyTooLarge(ChorusError):
    status = 413
    code = "body_too_large"


class UnsupportedEncoding(ChorusError):
    status = 415
    code = "unsupported_encoding"


class RateLimited(ChorusError):
    """A rate limit of this server is reached (K1). The code is OpenAI's."""

    status = 429
    code = "rate_limit_exceeded"


class TooManyRuns(ChorusError):
    """As many runs go on in the background as there may be."""

    status = 429
    code = "too_many_runs"


class BudgetSpent(ChorusError):
    """What a workflow may spend on one request is spent (W11)."""

    status = 429
    code = "budget_spent"
    retryable_by_client = False


class BudgetExhausted(ChorusError):
    """What a key may cost in a day, a week or a month is spent (M6). `retry_after` are the seconds
    until it renews: unlike an upstream's, they are ours and may be more than a day."""

    status = 429
    code = "budget_exhausted"
    retryable_by_client = False

    def __init__(self, message: str, *, renews_in_secs: float) -> None:
        super().__init__(message)
        self.retry_after = renews_in_secs


class QueueFull(ChorusError):
    """As many requests wait for a slot as may (K2)."""

    status = 429
    code = "queue_full"


class QueueTimeout(ChorusError):
    """A request has waited for a slot as long as it may (K2)."""

    status = 503
    code = "queue_timeout"


class HeadersTooLarge(ChorusError):
    status = 431
    code = "headers_too_large"


class Stopping(ChorusError):
    """The server stops and its drain time is over (A8)."""

    status = 503
    code = "server_stopping"

    def __init__(self, message: str = "The server is stopping; this answer was cut off.") -> None:
        super().__init__(message)


class StorageUnavailable(ChorusError):
    """What is kept cannot be read or written now: the store is away, full or damaged (M2). `kind`
    is the kind of record, for the metrics, where it is known."""

    status = 503
    code = "storage_unavailable"

    def __init__(self, message: str, *, retry_after: float = 2.0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.kind = "other"


class NotSupported(ChorusError):
    status = 501
    code = "not_supported"
    retryable_by_client = False


class ClientGone(ChorusError):
    status = 499
    code = "client_closed_request"


class RunCancelled(ClientGone):
    """The run was cancelled by its id (`POST /api/v1/runs/{id}/cancel`) while its client waits."""

    code = "run_cancelled"

    def __init__(self, message: str = "The run was cancelled.") -> None:
        super().__init__(message)


class Internal(ChorusError):
    """Something we did not foresee.

    The details are in the log under the request id, never in the answer.
    """

    def __init__(self) -> None:
        super().__init__("Internal error; the server's log has the details under this request id.")


class AllWorkersFailed(ChorusError):
    """No candidate exists (W2). `reasons` holds one `(worker, code, message)` per worker."""

    status = 502
    code = "all_workers_failed"
    retryable_by_client = False

    def __init__(self, reasons: Sequence[tuple[str, str, str]]) -> None:
        listed = "; ".join(f"{worker}: {code}: {message}" for worker, code, message in reasons)
        super().__init__(f"All {len(reasons)} workers failed: {listed}")
        self.reasons = tuple(reasons)

    @property
    def log_message(self) -> str:
        """Without the messages of the workers, which hold what their upstreams said."""
        listed = "; ".join(f"{worker}: {code}" for worker, code, _ in self.reasons)
        return f"All {len(self.reasons)} workers failed: {listed}"


class AnswerTooLong(ChorusError):
    status = 502
    code = "answer_too_long"
    retryable_by_client = False


class DeadlineExceeded(ChorusError):
    status = 504
    code = "deadline_exceeded"
    retryable_by_client = False


class LLMError(ChorusError):
    """An upstream did not give an answer (L3).

    `detail` is what the upstream said, cut and redacted: the caller reads it behind our own
    sentence, the log does not hold it, since upstreams like to quote the prompt in their errors
    (S3).
    """

    status = 502
    code = "upstream_error"

    def __init__(
        self, message: str, *, detail: str = "", param: str | None = None, retry_after: float | None = None
    ) -> None:
        shown = f"{message}: {excerpt(detail)}" if detail else message
        super().__init__(shown, param=param, retry_after=retry_after)
        self._log_message = message

    def advise(self, sentence: str) -> None:
        """Add what helps to the message, for the caller and for the log."""
        self.message = f"{self.message} {sentence}"
        self._log_message = f"{self._log_message}. {sentence}"

    @property
    def log_message(self) -> str:
        return self._log_message


class UpstreamUnavailable(LLMError):
    """No replica of a model answered (D1)."""

    status = 503
    code = "upstream_unavailable"
    retryable_by_client = False


class UpstreamConnect(LLMError):
    code = "upstream_connect"


class UpstreamTimeout(LLMError):
    status = 504
    code = "upstream_timeout"


class UpstreamStatus(LLMError):
    """The upstream answered with an error status.

    Its 401/403 is our 502: the caller's key is not to blame.

    `body` is the beginning of what it said; it names the field that it refuses, and nobody is shown
    it.
    """

    code = "upstream_status"

    def __init__(
        self, message: str, *, upstream_status: int, detail: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, detail=detail, retry_after=retry_after)
        self.upstream_status = upstream_status
        self.body = b""


class UpstreamRefused(UpstreamStatus):
    status = 400
    code = "upstream_refused"


class UpstreamRateLimited(UpstreamStatus):
    """`retry_after` is in seconds; None when the upstream named no time."""

    status = 429
    code = "upstream_rate_limited"

    def __init__(self, message: str, *, retry_after: float | None = None, detail: str = "") -> None:
        super().__init__(message, upstream_status=429, detail=detail, retry_after=retry_after)


class UpstreamProtocol(LLMError):
    code = "upstream_protocol"


class ContentFiltered(LLMError):
    status = 400
    code = "content_filter"


ENVIRONMENT: Final = "CHORUS__"
"""What the names of variables begin with that set keys of the configuration."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a configuration: its place, the value (never a secret) and what was expected."""

    where: str
    """Table and key, such as `[[model]] "glm" temperature`.

    Empty where the message stands for itself.
    """
    message: str
    """What was found and what was expected, in one sentence."""
    line: int | None = None
    """Line in the file, 1-based, where it is known."""

    @property
    def is_of_file(self) -> bool:
        """Whether the place is one in a file, and no variable."""
        return bool(self.where) and not self.where.upper().startswith(ENVIRONMENT)

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.where}: {self.message}" if self.where else f"{place}{self.message}"


class ConfigError(ChorusError):
    """A configuration that cannot be used: all of its problems at once (C2).

    The CLI exits with 2.
    """

    code = "config_error"

    def __init__(self, problems: Sequence[Problem], *, source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        lines = [f"{source}: {problem}" if source and problem.is_of_file else str(problem) for problem in self.problems]
        super().__init__("\n".join(lines))


_SECRETS = re.compile(
    r"(?i)(bearer\s+|api[-_]?key[\"'=:\s]+|authorization[\"'=:\s]+)[^\s\"',;}]{4,}"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|ghp|AIza)[-_]?[A-Za-z0-9_\-]{12,}"
)


_MAX_READ: Final = 64 * 1024
_MAX_SEARCHED: Final = 4096
"""Characters of a foreign text that are read, and those of its one line that are searched."""


def _encodable(text: str) -> str:
    """Return `text`, which may quote foreign text, without halves of characters (surrogates)."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def excerpt(text: str, limit: int = 200) -> str:
    """Return `text` fit for an error: one line, no secrets, at most `limit` characters (L3).

    Secrets are those that are configured, by their value (`redaction`), and what looks like a key.
    """
    flat = " ".join(text[:_MAX_READ].split())[:_MAX_SEARCHED]
    clean = _SECRETS.sub(REDACTED, KNOWN.blotted(flat, is_cut=True))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def sane_wait(secs: float) -> float:
    """Return a number of seconds that a caller can be asked to wait: from 0 to a day."""
    return min(max(0.0, secs), MAX_RETRY_AFTER_SECS)  # in this order, what is no number becomes 0
