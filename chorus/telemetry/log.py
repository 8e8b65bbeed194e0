"""The log (O1, S3): structlog, JSON or pretty on a terminal, with prompts, answers and secrets
redacted.

Lines are made where they are logged, and written by a thread of their own (`logwriter`).
`CHORUS_LOG` is a level or `info,chorus.workflow=debug`; `CHORUS_LOG_SENSITIVE=1` shows texts, with
a warning at start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final, Protocol

import msgspec
import structlog

from chorus.errors import Problem
from chorus.redaction import KNOWN
from chorus.telemetry.logwriter import LogWriter

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_TEXT_KEYS: Final = frozenset({"prompt", "messages", "text", "answer", "response", "content"})
_OUR_OWN_KEYS: Final = frozenset({"level", "logger", "timestamp"})
_CUT: Final = 2000


@dataclass(frozen=True, slots=True)
class Levels:
    """A level for everything and, by the longest prefix of a logger's name, for parts of it."""

    default: int = logging.INFO
    parts: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """Return the lowest level that the logger `name` writes."""
        best = max((p for p in self.parts if name == p or name.startswith(f"{p}.")), key=len, default=None)
        return self.default if best is None else self.parts[best]

    @property
    def lowest(self) -> int:
        return min([self.default, *self.parts.values()])


def read_levels(spec: str) -> tuple[Levels, list[Problem]]:
    """`CHORUS_LOG` as levels; words that are none are named and otherwise ignored."""
    default, parts, problems = logging.INFO, {}, []
    for word in filter(None, (word.strip() for word in spec.split(","))):
        name, sign, level = word.rpartition("=")
        number = _LEVELS.get(level.strip().lower())
        if number is None:
            known = ", ".join(_LEVELS)
            problems.append(Problem("CHORUS_LOG", f"{level.strip()!r} is no level; known: {known}"))
        elif sign:
            parts[name.strip()] = number
        else:
            default = number
    return Levels(default, parts), problems


def configure(spec: str = "info", *, sensitive: bool = False, stream: IO[str] | None = None) -> None:
    """Set the log up for this process. Standard-library loggers (uvicorn, asyncio) come out the
    same way."""
    global _writer
    out: IO[str] | None = stream if stream is not None else sys.stderr
    levels, problems = read_levels(spec)
    pretty = out is not None and out.isatty()
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    render: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(serializer=_json)

    def by_name(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if _LEVELS.get(method, logging.ERROR) < levels.of(logger.name):
            raise structlog.DropEvent
        event["logger"] = logger.name
        return event

    def redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key in _TEXT_KEYS & event.keys():
            event[key] = str(event[key])[:_CUT] if sensitive else redacted(str(event[key]))
        if (error := event.pop("exc_info", None)) is not None:
            event["exception"] = _frames(error if isinstance(error, BaseException) else sys.exception(), sensitive)
        if method not in ("info", "debug"):  # lines that may quote foreign texts
            for key in event.keys() - _OUR_OWN_KEYS:
                event[key] = _without_secrets(event[key])
        return event

    def notice(count: int) -> str:
        event = {"lines": count, "event": "log lines were dropped: they were not read in time, or could not be written"}
        line = render(None, "warning", stamp(None, "warning", {**event, "logger": "chorus.log", "level": "warning"}))
        return str(line)

    _writer.close()
    _writer = _writer_for(out, notice)
    structlog.configure(
        processors=[
            by_name,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            redact,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels.lowest),
        logger_factory=_Lines,
        cache_logger_on_first_use=stream is None,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward(sensitive)]
    root.setLevel(logging.WARNING)
    log = structlog.get_logger("chorus")
    for problem in problems:
        log.warning(str(problem))
    if sensitive:
        log.warning("CHORUS_LOG_SENSITIVE=1: prompts and answers are written to this log in full")


def take_over() -> None:
    """Let Python's own words at run time (warnings, exceptions in finalizers and threads) go
    through the log: printed, they would wait for the reader of standard error, and may quote a
    prompt."""
    logging.captureWarnings(True)

    def unraisable(problem: sys.UnraisableHookArgs) -> None:
        structlog.get_logger("chorus").error("an exception could not be raised", exc_info=problem.exc_value)

    def in_thread(problem: threading.ExceptHookArgs) -> None:
        structlog.get_logger("chorus").error("a thread failed", exc_info=problem.exc_value)

    sys.unraisablehook, threading.excepthook = unraisable, in_thread


def dropped_lines() -> int:
    """Return how many lines of the log were dropped by this process."""
    return _writer.dropped


def _json(event: MutableMapping[str, Any], **options: object) -> str:
    """Return a line.

    Structlog's `options` are those of `json.dumps`, which takes five times as long.
    """
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    # half a surrogate pair, as in names of files that are not UTF-8
    except (ValueError, OverflowError, TypeError):
        return json.dumps(event, default=repr)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return KNOWN.blotted(value)
    return [_without_secrets(item) for item in value] if isinstance(value, list | tuple) else value


def redacted(text: str) -> str:
    """Return a text as a log may hold it: its length, and a hash that is the same for the same
    text."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return f"[{len(text)} chars, sha256 {digest}]"


def _frames(error: BaseException | None, sensitive: bool) -> str:
    """Return where an exception came from. Its message is left out: it may quote a prompt."""
    if error is None:
        return ""
    if sensitive:
        return "".join(traceback.format_exception(error))
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"


class _Writer(Protocol):
    """Where finished lines go."""

    dropped: int

    def write(self, line: str) -> None:
        """Write one line, or drop it. Raises nothing."""
        ...

    def close(self) -> None:
        """Write what waits, for a bounded time; nothing is written any more."""
        ...


class _Direct:
    """Writes to a stream that is no file, which needs no thread. A line that cannot be written is
    lost."""

    dropped = 0

    def __init__(self, out: IO[str] | None) -> None:
        """None: standard error was closed before the process began."""
        self._out = out

    def write(self, line: str) -> None:
        """See `_Writer.write`."""
        if self._out is not None:
            with suppress(OSError, ValueError):  # ValueError: it was closed on our side
                self._out.write(line + "\n")
                self._out.flush()

    def close(self) -> None:
        """See `_Writer.close`."""


_writer: _Writer = _Direct(None)
"""Of the newest `configure`. Loggers that were made before it write there too."""


def _writer_for(out: IO[str] | None, notice: Callable[[int], str]) -> _Writer:
    if out is not None:
        with suppress(OSError, ValueError):  # a stream in memory has no descriptor
            return LogWriter(out, notice)
    return _Direct(out)


class _Lines:
    """Takes finished lines; the logger at the bottom of structlog's chain."""

    def __init__(self, name: str = "chorus") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        _writer.write(line)

    debug = info = warning = error = critical = log = msg


class _Forward(logging.Handler):
    """Standard-library records into structlog."""

    def __init__(self, sensitive: bool) -> None:
        super().__init__()
        self._sensitive = sensitive

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        extra = {"exc_info": error} if error is not None else {}
        message = record.getMessage()
        if record.name == "asyncio" and not self._sensitive:
            # below it stand objects, and exceptions that may quote a prompt
            message = message.partition("\n")[0]
        structlog.get_logger(record.name).log(record.levelno, message, **extra)
