"""Secrets in files, named by variables `NAME_FILE`, as containers mount them (`/run/secrets/x`).

Above: `config`, `discovery` and the commands that take a key from the environment. Below:
`redaction`, which knows every text that was read here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from chorus.redaction import KNOWN

SUFFIX: Final = "_FILE"
"""What a variable's name ends in where it names a file."""

MAX_BYTES: Final = 64 * 1024
"""The longest secrets, certificates with their chain, have some 10 KB."""


class SecretFileError(ValueError):
    """A file that cannot be read. The sentence says why, and holds nothing of the file."""


def from_environment(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the variable `name`, else the text of the file that `NAME_FILE` names, else None.

    A variable that is set and empty counts only where there is no file.

    Raises:
        SecretFileError: the file cannot be read.
    """
    value = environ.get(name)
    path = environ.get(name + SUFFIX)
    if value or not path:
        return value
    try:
        return read_secret(path)
    except SecretFileError as problem:
        raise SecretFileError(f"{name}{SUFFIX}: {problem}") from None


def read_secret(path: str) -> str:
    """Return the text of the file `path`, and register it with `redaction`.

    The line ends at its end are left out.

    Raises:
        SecretFileError: there is no such file, it is no regular file, it cannot be read, is empty,
            is no UTF-8 or has more than MAX_BYTES.
    """
    text = read_bounded(path)
    KNOWN.add((text,))
    return text


def read_bounded(path: str) -> str:
    """Return the same of a file that is no secret, such as a table of the configuration."""
    name = _shown(path)
    try:
        # without O_NONBLOCK, a pipe that nobody writes to would hold the start up for ever
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SecretFileError(f"{name} is not a regular file")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SecretFileError(f"{name} does not exist") from None
    except ValueError as problem:
        if isinstance(problem, SecretFileError):
            raise
        raise SecretFileError(f"{name} is no path") from None
    except IsADirectoryError:
        raise SecretFileError(f"{name} is not a regular file") from None
    except OSError as problem:
        raise SecretFileError(f"{name} cannot be read: {problem.strerror}") from None
    if len(data) > MAX_BYTES:
        raise SecretFileError(f"{name} has more than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretFileError(f"{name} is not UTF-8") from None
    if not text:
        raise SecretFileError(f"{name} is empty")
    return text


def _shown(path: str) -> str:
    """Return the path as an error names it.

    What is in no folder that exists may be the secret itself, written into the variable that should
    name its file.
    """
    try:
        is_path = "/" in path and path.isprintable() and os.path.isdir(os.path.dirname(path))
    except ValueError:  # a null byte
        is_path = False
    return f"the file {path}" if is_path else "the file that it names"
