"""A store whose operations end in time, and fail at once while it hangs (M2).

Above: `service`, which uses the guarded kinds of record. Below: any store. An operation that ends
without a result after `SLOW_SECS` opens the circuit; then one operation each `PROBE_SECS` tries the
store, and all others fail at once. Reads and writes have a circuit each: where another process
holds the lock of an SQLite file, reading goes on.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import structlog

from chorus.errors import ChorusError, StorageUnavailable
from chorus.storage.base import READ_SECS, WRITE_SECS, Storage

SLOW_SECS: Final = 0.9
"""A failure that took so long is one of a store that hangs: callers wait a second or two, and a
Redis that is silent ends its commands after one. What fails faster costs nobody any time."""
PROBE_SECS: Final = 2.0
"""Between two tries of a store that hangs."""
_READS: Final = frozenset({"get", "recent", "page", "item", "query", "history", "read", "done"})
_LABELS: Final = {"profiles": "memory", "affinities": "affinity", "outcomes": "learning"}
"""What the metrics call a kind of record, where that is not its name."""
_UNLIMITED: Final = frozenset({("usage", "add")})
"""Methods without a time limit here: a count that is added again after a timeout counts twice, so
the callers limit the time."""

_AWAY: Final = "The store does not answer."
_log = structlog.get_logger("chorus.storage")


class Circuit:
    """Says whether an operation may try the store. Pure: `clock` gives seconds."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._until: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether the store has hung, and nothing has succeeded since."""
        return self._until is not None

    def begin(self) -> float:
        """Let an operation begin, and return the time. Raises StorageUnavailable while the circuit
        is open, but for one operation each `PROBE_SECS`."""
        now = self._clock()
        if self._until is not None:
            if self._is_probing or now < self._until:
                raise StorageUnavailable(_AWAY, retry_after=max(self._until - now, PROBE_SECS))
            self._is_probing = True
        return now

    def succeed(self) -> None:
        """The store has answered."""
        if self._until is not None:
            _log.info("storage: the store answers again", circuit=self._name)
        self._until = None
        self._is_probing = False

    def fail(self, began: float) -> None:
        """An operation that began at `began` has ended without an answer of the store."""
        now = self._clock()
        is_slow = now - began >= SLOW_SECS
        if is_slow and self._until is None:
            _log.warning("storage: the store hangs", circuit=self._name, tried_again_each_secs=PROBE_SECS)
        if is_slow or self._until is not None:
            self._until = now + PROBE_SECS
        self._is_probing = False


class _Guarded:
    """One kind of record behind its circuits. Each method has the signature of the one it calls."""

    def __init__(self, records: Any, kind: str, reads: Circuit, writes: Circuit, *, limits_time: bool) -> None:
        """`limits_time`: the records raise TimeoutError themselves; a cancel scope costs 30 µs."""
        self._records = records
        self._limits_time = limits_time
        self._kind = kind
        self._reads = reads
        self._writes = writes

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._records, name)
        is_read = name in _READS
        circuit = self._reads if is_read else self._writes
        secs = READ_SECS if is_read else None if (self._kind, name) in _UNLIMITED else WRITE_SECS
        kind, limits_time = self._kind, self._limits_time

        async def guarded(*args: Any, **options: Any) -> Any:
            try:
                began = circuit.begin()
                try:
                    if secs is None or limits_time:
                        result = await method(*args, **options)
                    else:
                        with anyio.fail_after(secs):
                            result = await method(*args, **options)
                except StorageUnavailable:
                    circuit.fail(began)
                    raise
                except TimeoutError:
                    circuit.fail(began)
                    raise StorageUnavailable(f"The store did not answer within {secs:g} s.") from None
                except ChorusError:  # it answers that the caller is wrong
                    circuit.succeed()
                    raise
                except BaseException:  # a caller that waited for long, and left
                    circuit.fail(began)
                    raise
            except StorageUnavailable as problem:
                problem.kind = kind
                raise
            circuit.succeed()
            return result

        setattr(self, name, guarded)  # the next call does not come here
        return guarded


def guarded(storage: Storage, clock: Callable[[], float] = time.monotonic) -> Storage:
    """Return `storage`, whose operations are guarded from now on."""
    reads, writes = Circuit("reads", clock), Circuit("writes", clock)

    for name, records in [*vars(storage).items()]:
        if not name.startswith("_"):  # a kind of record
            kind = _LABELS.get(name, name)
            setattr(storage, name, _Guarded(records, kind, reads, writes, limits_time=storage.limits_time))
    return storage
