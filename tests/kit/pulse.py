"""How long other requests wait while something happens: small requests on a connection of their
own, one after another.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_REQUEST = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


def peak_mib(pid: int) -> float:
    """The largest resident memory of a process since `reset_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def reset_peak(pid: int) -> None:
    """Begin to measure the largest resident memory anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Pulse:
    """Asks `GET /health` again and again while the block lasts.

    `worst` is the longest wait in seconds that the server computed through: of the wall time and
    the CPU time that all its threads took meanwhile, the smaller one. A busy machine lengthens the
    first and not the second. `longest` is the wall time alone, which also shows a server that waits
    for something. From both, the time is taken off for which its main thread or this one only
    waited for a core.
    """

    def __init__(self, base: str, pid: int) -> None:
        place = urlsplit(base)
        self._address = (str(place.hostname), int(place.port or 80))
        self._pid = pid
        self._is_over = threading.Event()
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self.worst = self.longest = 0.0
        self.count = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._has_begun.wait(10), "the server does not answer at all"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        own = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        places = [Path(own), Path(f"/proc/{self._pid}/schedstat")]
        with socket.create_connection(self._address, 60) as connection:
            while not self._is_over.is_set():
                computed, delayed, began = _cpu_secs(self._pid), _delay_secs(places), time.perf_counter()
                connection.sendall(_REQUEST)
                answer = b""
                while not answer.endswith(b"}"):
                    answer += connection.recv(65536)
                waited = time.perf_counter() - began - (_delay_secs(places) - delayed)
                self.longest = max(self.longest, waited)
                self.worst = max(self.worst, min(waited, _cpu_secs(self._pid) - computed))
                self.count += 1
                self._has_begun.set()
                self._is_over.wait(0.002)


def _delay_secs(places: list[Path]) -> float:
    """How long these threads have waited for a core so far."""
    return sum(int(place.read_text().split()[1]) for place in places) / 1e9


def _cpu_secs(pid: int) -> float:
    """The CPU time that the threads of a process have taken so far."""
    total = 0
    for place in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            total += int((place / "schedstat").read_text().split()[0])
    return total / 1e9
