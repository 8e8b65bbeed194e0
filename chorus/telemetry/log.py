"""The log (O1, S3): structlog, JSON or pretty on a terminal, with prompts and answers redacted.

`CHORUS_LOG` is a level or `info,chorus.workflow=debug`; `CHORUS_LOG_SENSITIVE=1` shows texts, with a warning at start.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final

import msgspec
import structlog

from chorus.errors import Problem

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_TEXT_KEYS: Final = frozenset({"prompt", "messages", "text", "answer", "response", "content"})
_CUT: Final = 2000


@dataclass(frozen=True, slots=True)
class Levels:
    """A level for everything and, by the longest prefix of a logger's name, for parts of it."""

    default: int = logging.INFO
    parts: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """The lowest level that the logger `name` writes."""
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
    """Set the log up for this process. Standard-library loggers (uvicorn, asyncio) come out the same way."""
    out = stream if stream is not None else sys.stderr
    levels, problems = read_levels(spec)
    pretty = out.isatty()

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
        return event

    render: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(serializer=_json)
    structlog.configure(
        processors=[
            by_name,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels.lowest),
        logger_factory=lambda name="chorus": _Lines(name, out),
        cache_logger_on_first_use=stream is None,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.WARNING)
    log = structlog.get_logger("chorus")
    for problem in problems:
        log.warning(str(problem))
    if sensitive:
        log.warning("CHORUS_LOG_SENSITIVE=1: prompts and answers are written to this log in full")


def _json(event: MutableMapping[str, Any], **options: object) -> str:
    """A line; structlog's `options` are those of `json.dumps`, which takes five times as long."""
    return msgspec.json.encode(event, enc_hook=repr).decode()


def redacted(text: str) -> str:
    """A text as a log may hold it: its length and a hash by which two lines can be told to mean the same text."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return f"[{len(text)} chars, sha256 {digest}]"


def _frames(error: BaseException | None, sensitive: bool) -> str:
    """Where an exception came from. Its message is left out: it may quote a prompt."""
    if error is None:
        return ""
    if sensitive:
        return "".join(traceback.format_exception(error))
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"


class _Lines:
    """Writes finished lines; the logger at the bottom of structlog's chain. A line that cannot be written is lost: whoever read
    the log has closed it, or the disk is full, and requests go on."""

    def __init__(self, name: str, out: IO[str]) -> None:
        self.name = name
        self._out = out

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: it was closed on our side
            self._out.write(line + "\n")
            self._out.flush()

    debug = info = warning = error = critical = log = msg


class _Forward(logging.Handler):
    """Standard-library records into structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        extra = {"exc_info": error} if error is not None else {}
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), **extra)
