"""Programs of the distribution that tests start or ask: they come from its packages, not from PyPI.

python -m tests.kit.programs installs what is missing, as `make test` does first (Debian and its
kin, as root)
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from types import TracebackType
from typing import Self

from .ports import free_port

PACKAGES = {"redis-server": "redis-server", "promtool": "prometheus", "chromium": "chromium", "haproxy": "haproxy"}
FONTS = {"/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc": "fonts-noto-cjk"}
"""Files of packages without a program: Chinese is drawn as boxes without them."""
INSTALL_SECONDS = 600
START_SECONDS = 10.0


def program(name: str) -> str:
    """The path of a program.

    AssertionError with what to install where it is not on this machine.
    """
    found = shutil.which(name)
    assert found is not None, f"these tests need {name}: install the package {PACKAGES[name]} of your distribution"
    return found


class RedisServer:
    """A Redis of its own, with nothing in it and nothing kept, on a free port, for as long as the
    block lasts.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        from redis import Redis
        from redis.exceptions import ConnectionError as Refused

        command = [program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        with Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                    return
                except Refused:
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, as a machine that goes away does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Let it answer nothing, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def fill(self) -> None:
        """Let it refuse what takes memory."""
        from redis import Redis

        with Redis(port=self.port) as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def install() -> None:
    """Install the packages of what is missing, where this is a Debian and we may."""
    missing = [package for name, package in PACKAGES.items() if shutil.which(name) is None]
    missing += [package for path, package in FONTS.items() if not os.path.exists(path)]
    if not missing:
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        print(
            f"not on this machine: {', '.join(missing)}; their tests will say so. Install them with your package manager"
        )
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", *missing]
    if subprocess.run(install, check=False, env=environment, timeout=INSTALL_SECONDS).returncode:
        subprocess.run([apt, "update", "-qq"], check=True, env=environment, timeout=INSTALL_SECONDS)
        subprocess.run(install, check=True, env=environment, timeout=INSTALL_SECONDS)


if __name__ == "__main__":
    install()
