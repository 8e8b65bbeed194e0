"""A gate whose slots several processes share.

A caller takes a slot of its own process first, and then a lease. So no process asks for more leases
at a time than it could use, and one whose leases are away has its own slots left.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Protocol

import anyio

from chorus.admission.gate import Gate, Slot
from chorus.errors import QueueTimeout
from chorus.types import Priority

_FIRST_PAUSE_SECS: Final = 0.01
_LONGEST_PAUSE_SECS: Final = 0.25
"""How long a caller that found no lease waits until it asks again: half as long again each time."""
_RETRY_SECS: Final = 1.0


class Leases(Protocol):
    """Slots that are counted in one place (`redis_leases`)."""

    async def take(self, name: str, slots: int) -> str | None:
        """Return a lease; None where none is free."""
        ...

    def give_back(self, name: str, lease: str) -> None:
        """Give a lease back."""
        ...


class SharedGate(Gate):
    """Lets `slots` callers in at a time, at all processes with one Redis. `key` is the name under
    which they count."""

    def __init__(
        self,
        name: str,
        slots: int,
        leases: Leases,
        key: str,
        *,
        max_waiting: int,
        max_wait_secs: float | None,
        waited: Callable[[float], None],
    ) -> None:
        super().__init__(name, slots, max_waiting=max_waiting, max_wait_secs=max_wait_secs)
        self._leases = leases
        self._key = key
        self._waited_in_all = waited
        self._asking = 0

    @property
    def waiting(self) -> int:
        """How many wait, those included that have a slot of this process and no lease."""
        return super().waiting + self._asking

    def slot(self, priority: Priority) -> Slot:
        """See `Gate.slot`."""
        return _SharedSlot(self, priority)

    async def _lease(self, began: float) -> str:
        """Return a lease for a caller that has waited since `began`.

        Raises:
            QueueTimeout: none became free in time.
        """
        pause = _FIRST_PAUSE_SECS
        self._asking += 1
        try:
            while (lease := await self._leases.take(self._key, self._slots)) is None:
                left = float("inf")
                if self._max_wait_secs is not None:
                    left = began + self._max_wait_secs - anyio.current_time()
                if left <= 0:
                    raise QueueTimeout(f"{self._name}: no slot became free in time", retry_after=_RETRY_SECS)
                await anyio.sleep(min(pause * random.uniform(0.5, 1.0), left))
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECS)
        finally:
            self._asking -= 1
        self._waited_in_all(anyio.current_time() - began)
        return lease


class _SharedSlot(Slot):
    """A slot of this process with a lease. `take_now` takes the former; only `take` asks for the
    lease, so that a request waits for it as a run that has begun."""

    __slots__ = ("_is_in", "_lease")

    _gate: SharedGate

    def __init__(self, gate: SharedGate, priority: Priority) -> None:
        super().__init__(gate, priority)
        self._is_in = False
        self._lease: str | None = None

    def take_now(self) -> bool:
        """Take a slot of this process, if one is free. False: `take` has to follow."""
        self._is_in = self._gate._take_free()
        return False

    async def take(self) -> None:
        """See `Slot.take`."""
        if self.is_held:
            return
        began = anyio.current_time()
        if not self._is_in and not self._gate._take_free():
            await self._gate._wait(self._priority)
        self._is_in = True
        try:
            self._lease = await self._gate._lease(began)
        except BaseException:
            self.release()
            raise
        self.is_held = True

    def release(self) -> None:
        """See `Slot.release`."""
        if not self._is_in:
            return
        self._is_in = self.is_held = False
        self._gate._give_back()
        if self._lease is not None:
            self._gate._leases.give_back(self._gate._key, self._lease)
            self._lease = None

    __aenter__ = take

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.release()


class Concurrency(Protocol):
    """What `[server]` and a `[[model]]` say of the number of calls at a time."""

    @property
    def max_concurrency(self) -> int | None:
        """How many; None: any number."""
        ...

    @property
    def max_waiting(self) -> int:
        """How many wait beyond them."""
        ...

    @property
    def max_wait_secs(self) -> float | None:
        """How long; None: until they may."""
        ...


def make_gate(
    name: str, settings: Concurrency, leases: Leases | None, key: str, waited: Callable[[float], None]
) -> Gate | None:
    """Return the gate that `settings` describe, None where they bound nothing. With `leases` all
    processes share its slots, as `key`."""
    slots, most, secs = settings.max_concurrency, settings.max_waiting, settings.max_wait_secs
    if slots is None:
        return None
    if leases is None:
        return Gate(name, slots, max_waiting=most, max_wait_secs=secs, waited=waited)
    return SharedGate(name, slots, leases, key, max_waiting=most, max_wait_secs=secs, waited=waited)
