"""Keys of clients (S1), made by `chorus keys` and kept as hashes in a file of their own.

A key has 192 random bits, so that a plain SHA-256 of it can be stored: there is nothing to guess.
It is found by its hash; the time of comparing says nothing about it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from chorus.auth.budget import KeyBudget
from chorus.errors import ConfigError, InvalidKey, Problem
from chorus.files import locked, replace_file
from chorus.rate import Rate, rate

_log = structlog.get_logger("chorus.admission")

Role = Literal["client", "admin"]

_PREFIX: Final = "sk-chorus-"
_LOOK_SECS: Final = 1.0
"""How often the file is looked at: a key that was revoked is good for no longer than this."""


class Key(msgspec.Struct, frozen=True):
    """What is known of a key.

    `models` is empty where all are allowed; times are in seconds since 1970; `requests` and
    `tokens` are rates such as `60/minute`, none where those hold that the configuration has for
    every key. Without `budget` its cost is not bounded.
    """

    id: str
    name: str
    hash: str
    role: Role = "client"
    models: tuple[str, ...] = ()
    created: float = 0.0
    expires: float | None = None
    requests: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    budget: KeyBudget | None = None

    @property
    def request_rates(self) -> tuple[Rate, ...]:
        """The rates that `requests` spells."""
        return tuple(map(rate, self.requests))

    @property
    def token_rates(self) -> tuple[Rate, ...]:
        """The rates that `tokens` spells."""
        return tuple(map(rate, self.tokens))

    def allows(self, model: str) -> bool:
        """Return whether it may ask for `model`; Ollama's clients append `:latest`."""
        return not self.models or model in self.models or model.removesuffix(":latest") in self.models


class KeyFile:
    """The keys in the file at `path`; none where there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Key]:
        """Return every key. Reading needs no lock: the file is replaced in one step.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            keys = msgspec.json.decode(self._path.read_bytes(), type=list[Key])
            for key in keys:
                _ = key.request_rates, key.token_rates
            return keys
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, ValueError) as problem:
            raise ConfigError([Problem("", f"the keys in {self._path} cannot be read: {problem}")]) from problem

    def create(
        self,
        name: str,
        *,
        role: Role,
        models: Sequence[str],
        expires: float | None,
        requests: Sequence[str] = (),
        tokens: Sequence[str] = (),
        budget: KeyBudget | None = None,
    ) -> tuple[str, Key]:
        """Return a new key: its text, which is kept nowhere, and what is kept.

        Raises:
            ConfigError: the file cannot be read or written.
        """
        text = _PREFIX + secrets.token_urlsafe(24)
        key = Key(
            secrets.token_hex(4),
            name,
            _hash(text),
            role,
            tuple(models),
            time.time(),
            expires,
            tuple(requests),
            tuple(tokens),
            budget,
        )
        with self._alone():
            self._write([*self.read(), key])
        return text, key

    def revoke(self, id: str) -> bool:
        """Remove the key of this id; return whether it was there.

        Raises:
            ConfigError: the file cannot be read or written.
        """
        with self._alone():
            keys = self.read()
            left = [key for key in keys if key.id != id]
            if len(left) < len(keys):
                self._write(left)
        return len(left) < len(keys)

    def version(self) -> tuple[int, int, int] | None:
        """Equal as long as the file has not been written; None where there is none.

        Each write makes another file, so two writes within one tick of the file system's clock
        differ too.
        """
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns, state.st_size

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the file in this block, so that no other process changes it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._path):
                yield
        except OSError as problem:
            why = problem.strerror or str(problem)
            raise ConfigError([Problem("", f"the keys in {self._path} cannot be written: {why}")]) from problem

    def _write(self, keys: Sequence[Key]) -> None:
        replace_file(self._path, msgspec.json.format(msgspec.json.encode(keys)) + b"\n")


class KeyRing:
    """The keys of a file, read anew when it changes."""

    def __init__(self, file: KeyFile) -> None:
        """Raises ConfigError when there is no key: nobody could get in."""
        self._file = file
        self._version = file.version()
        self._keys = {key.hash: key for key in file.read()}
        self._looked = time.monotonic()
        self._complaint = ""
        if not self._keys:
            raise ConfigError(
                [Problem("", "there is no key yet, and nobody could get in: `chorus keys create NAME` makes one")]
            )

    def check(self, text: str | None) -> Key:
        """Return the key that `text` is.

        Raises:
            InvalidKey: it is missing, unknown or expired.
        """
        self._look()
        if not text:
            raise InvalidKey("This server wants a key: Authorization: Bearer sk-chorus-...")
        return _valid(self._keys.get(_hash(text)))

    def by_id(self, id: str) -> Key:
        """Return the key of this id, for work that its owner began earlier.

        Raises:
            InvalidKey: it is revoked or expired.
        """
        self._look()
        return _valid(next((key for key in self._keys.values() if key.id == id), None))

    def _look(self) -> None:
        """Read the file where it has changed.

        Raises nothing: the keys that are known stay good until it can be read, and the next look
        tries again.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_SECS:
            return
        self._looked = now
        version = self._file.version()
        if version == self._version:
            return
        try:
            self._keys = {key.hash: key for key in self._file.read()}
            self._version, self._complaint = version, ""
        except Exception as error:
            problem = error.message if isinstance(error, ConfigError) else type(error).__name__
            if problem != self._complaint:  # once, not every second
                self._complaint = problem
                _log.error("the keys were not read anew", problem=problem)


def _valid(key: Key | None) -> Key:
    if key is None:
        raise InvalidKey("This key is not known here (any more).")
    if key.expires is not None and time.time() >= key.expires:
        raise InvalidKey("This key has expired.")
    return key


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
