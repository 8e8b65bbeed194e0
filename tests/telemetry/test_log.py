"""Levels and redaction of the log (O1, S3)."""

import errno
import io
import json
import logging

import pytest
import structlog

from chorus.telemetry.log import configure, read_levels, redacted


@pytest.mark.parametrize(
    ("spec", "logger", "level"),
    [
        ("info", "chorus.server", logging.INFO),
        ("debug", "anything", logging.DEBUG),
        ("info,chorus.workflow=debug", "chorus.workflow", logging.DEBUG),
        ("info,chorus.workflow=debug", "chorus.workflow.nodes", logging.DEBUG),
        ("info,chorus.workflow=debug", "chorus.workflows", logging.INFO),
        ("warning,chorus=debug,chorus.server=error", "chorus.server", logging.ERROR),
        (" WARN , ", "x", logging.WARNING),
        ("", "x", logging.INFO),
    ],
)
@pytest.mark.requirement("O1")
def test_a_level_for_all_and_for_parts(spec: str, logger: str, level: int) -> None:
    levels, problems = read_levels(spec)
    assert levels.of(logger) == level
    assert problems == []


def test_what_is_no_level_is_named() -> None:
    levels, [problem] = read_levels("loud,chorus.server=debug")
    assert "'loud' is no level" in str(problem)
    assert levels.of("chorus.server") == logging.DEBUG


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    configure("info,quiet=error", stream=stream)
    return stream


@pytest.mark.requirement("S3")
def test_texts_and_exceptions_are_redacted(lines: io.StringIO) -> None:
    log = structlog.get_logger("chorus.test")
    try:
        raise KeyError("the secret prompt")
    except KeyError as error:
        log.error("crashed", exc_info=error, prompt="the secret prompt")
    [line] = [json.loads(text) for text in lines.getvalue().splitlines()]
    assert "secret" not in lines.getvalue()
    assert line["prompt"] == redacted("the secret prompt")
    assert line["exception"].startswith("KeyError at test_log.py")


@pytest.mark.requirement("O1")
def test_levels_apply_and_the_standard_library_joins_in(lines: io.StringIO) -> None:
    structlog.get_logger("quiet").warning("not written")
    structlog.get_logger("chorus").debug("not written")
    logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
    [line] = [json.loads(text) for text in lines.getvalue().splitlines()]
    assert (line["event"], line["logger"], line["level"]) == ("from uvicorn", "uvicorn.error", "warning")


@pytest.mark.requirement("O1")
def test_a_log_that_nobody_can_write_to_any_more_stops_nothing(lines: io.StringIO) -> None:
    lines.close()
    with pytest.raises(ValueError, match="closed"):
        lines.write("it is")
    structlog.get_logger("chorus").error("who hears this?")


class FullDisk(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.requirement("O1")
def test_a_full_disk_stops_nothing(lines: io.StringIO) -> None:
    configure(stream=(full := FullDisk()))
    structlog.get_logger("chorus").error("who hears this?")
    assert "who hears this?" in full.getvalue()
