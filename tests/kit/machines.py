"""Machines of a network, as network namespaces of this one: each has a name, an address and ports
of its own, as a container has. For root on Linux.

    with Machines(["redis", "gateway-1"]) as network:
        subprocess.Popen([*network.at("redis"), "redis-server", "--bind", "0.0.0.0"])
        httpx.get(f"http://{network.address('gateway-1')}:11435/health")
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_HOSTS: Final = Path("/etc/netns")
"""`ip netns exec NAME` lays the files of a folder of this name over /etc."""


@cache
def can_make_machines() -> bool:
    """Whether this process may make network namespaces."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"chorus-{os.getpid()}-try"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    return subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False).returncode == 0


class Machines:
    """Machines that reach each other by their names, and are reached by this process at their
    addresses.

    A switch that is a namespace of its own joins them, so that no rule of this machine's firewall
    is between them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._tag = f"{os.getpid():x}"
        self._net = f"198.18.{os.getpid() % 250 + 1}"  # set aside for tests of networks (RFC 2544)
        self._here = f"{self._net}.1"
        self._addresses = {name: f"{self._net}.{number}" for number, name in enumerate(names, 10)}
        self._stack = ExitStack()
        self._inhabitants: dict[str, int] = {}

    def address(self, name: str) -> str:
        """The address of a machine."""
        return self._addresses[name]

    def at(self, name: str) -> list[str]:
        """What goes before a command that is to run on this machine."""
        return ["ip", "netns", "exec", self._space(name)]

    def inhabitant(self, name: str) -> int:
        """The id of a process that is on this machine, for as long as it is there."""
        if name not in self._inhabitants:
            command = [*self.at(name), "sh", "-c", "echo; exec cat"]  # it ends when we do
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._stack.enter_context(process)
            assert process.stdout is not None
            process.stdout.readline()
            self._inhabitants[name] = process.pid
        return self._inhabitants[name]

    def unplug(self, name: str) -> None:
        """Let a machine be gone: nothing that is sent to it is answered."""
        _ip("-n", self._space("switch"), "link", "set", self._port(name), "down")

    def plug(self, name: str) -> None:
        """Let it be there again."""
        _ip("-n", self._space("switch"), "link", "set", self._port(name), "up")

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _make(self) -> None:
        switch = self._space("switch")
        self._add(switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._addresses.items())]
        for name, address in self._addresses.items():
            space = self._space(name)
            self._add(space)
            folder = _HOSTS / space
            folder.mkdir(parents=True)
            self._stack.callback(shutil.rmtree, folder)
            (folder / "hosts").write_text("\n".join(lines) + "\n", encoding="utf-8")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", self._port(name), "netns", switch)
            self._join(self._port(name))
            _ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
        ours = f"chx{self._tag}"
        _ip("link", "add", ours, "type", "veth", "peer", "here", "netns", switch)
        self._stack.callback(_ip, "link", "delete", ours)
        self._join("here")
        _ip("address", "add", f"{self._here}/24", "dev", ours)
        _ip("link", "set", ours, "up")

    def _add(self, space: str) -> None:
        _ip("netns", "add", space)
        self._stack.callback(_ip, "netns", "delete", space)

    def _join(self, port: str) -> None:
        switch = self._space("switch")
        _ip("-n", switch, "link", "set", port, "master", "bridge", "up")

    def _space(self, name: str) -> str:
        return f"chorus-{self._tag}-{name}"

    def _port(self, name: str) -> str:
        """A name for an end of a cable: a kernel takes 15 characters."""
        return f"port{self._addresses[name].rpartition('.')[2]}"


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
