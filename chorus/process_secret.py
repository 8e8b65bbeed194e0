"""The secret that this process and those beside it share.

It signs values that clients hand back, and makes marks that nobody can guess.

It is made from the environment variable `CHORUS_REASONING_KEY`, or from the file that
`CHORUS_REASONING_KEY_FILE` names, else it is random and lives as long as the process;
`serve --workers` gives one to all its workers.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import Final

from chorus.errors import ConfigError, Problem
from chorus.secret_files import SecretFileError, from_environment

KEY_VARIABLE: Final = "CHORUS_REASONING_KEY"
"""The variable from whose text the secret is made.

Replicas that share it know each other's values.
"""


def new_secret() -> bytes:
    """Return 32 bytes: made from the environment variable, else random.

    Raises:
        ConfigError: the variable is in a file that cannot be read.
    """
    try:
        given = from_environment(KEY_VARIABLE, os.environ)
    except SecretFileError as problem:
        raise ConfigError([Problem("", str(problem))]) from None
    return hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest() if given else secrets.token_bytes(32)


_SECRET: Final = new_secret()


def signature(data: bytes) -> bytes:
    """Return 32 bytes that only this secret makes of `data`."""
    return hmac.digest(_SECRET, data, "sha256")
