"""How long other requests wait while something happens: small requests on a connection of their own, one after another."""

from __future__ import annotations

import socket
import threading
import time
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
    """Asks `GET /health` again and again while the block lasts. `worst` is the longest wait in seconds that is the
    server's doing: the time for which its main thread or this one only waited for a core is taken off, so that a busy
    machine does not count."""

    def __init__(self, base: str, pid: int) -> None:
        place = urlsplit(base)
        self._address = (str(place.hostname), int(place.port or 80))
        self._pid = pid
        self._is_over = threading.Event()
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self.worst = 0.0
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
                delayed, began = _delay_secs(places), time.perf_counter()
                connection.sendall(_REQUEST)
                answer = b""
                while not answer.endswith(b"}"):
                    answer += connection.recv(65536)
                waited = time.perf_counter() - began - (_delay_secs(places) - delayed)
                self.worst = max(self.worst, waited)
                self.count += 1
                self._has_begun.set()
                self._is_over.wait(0.002)


def _delay_secs(places: list[Path]) -> float:
    """How long these threads have waited for a core so far."""
    return sum(int(place.read_text().split()[1]) for place in places) / 1e9
