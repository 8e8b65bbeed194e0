"""The services of a compose file, run as processes of machines of tests/kit/machines.py: the
command, the environment, the mounted files and the health checks are those of the file, and what an
image brings is read from its Dockerfile.

    with Machines(["redis", "gateway-1"]) as network:
        services = Services(FILE, network, folder, {"MODEL_NAME": "glm"})
        redis = services.up("redis")               # starts it, and waits until its health check passes
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from .machines import Machines
from .zygote import Forked

ROOT: Final = Path(__file__).resolve().parents[2]
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_INSTRUCTION: Final = re.compile(r"^(ENV|ENTRYPOINT|CMD) +(.*)$", re.MULTILINE)
_ENTRYPOINTS: Final = {"prom/prometheus": ["prometheus"]}
"""Of images that are not ours."""
_HEALTHY_SECS: Final = 90.0
_BETWEEN_CHECKS_SECS: Final = 0.1
_LISTENS: Final = "0A"
"""The state of a listening socket in /proc/net/tcp."""
_FOLDERS_OF_IMAGES: Final = ("/etc", "/var/lib")
"""Of the paths in an image's environment: they are in the service's own folder here."""


@dataclass(frozen=True)
class _Command:
    """A command on the machine `name`."""

    words: list[str]
    network: Machines
    name: str
    environment: dict[str, str]
    folder: Path

    def start(self, output: int) -> subprocess.Popen[bytes] | Forked:
        """Run it. Chorus begins imported: the services are started and asked 40 times."""
        if self.words[0] == "chorus":
            beside = self.network.inhabitant(self.name)
            return Forked(self.words[1:], self.environment, self.folder, output=output, beside=beside)
        words = [*self.network.at(self.name), *self.words]
        return subprocess.Popen(words, env=self.environment, cwd=self.folder, stdout=output, stderr=output)


@dataclass
class Service:
    """One service that runs.

    Attributes: `name`, `process`, `log` (the path of what it wrote), `grace_secs` (its
    stop_grace_period).
    """

    name: str
    process: subprocess.Popen[bytes] | Forked
    log: Path
    grace_secs: float
    stop_signal: signal.Signals
    _check: _Command = field(repr=False)

    def is_healthy(self) -> bool:
        """Whether the health check of the file passes; True where it has none."""
        if not self._check.words:
            return True
        with open(os.devnull, "wb") as nothing:
            process = self._check.start(nothing.fileno())
        try:
            return process.wait(30) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def is_listening(self) -> bool:
        """Whether a socket of its machine listens: a check before that costs a process and
        fails.
        """
        tables = (Path(f"/proc/{self.process.pid}/net/{name}").read_text(encoding="utf-8") for name in ("tcp", "tcp6"))
        return any(row.split()[3] == _LISTENS for table in tables for row in table.splitlines()[1:])

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """What `docker compose stop` does, without waiting for it."""
        self.process.send_signal(self.stop_signal)

    def stop(self) -> int:
        """The exit code of the service, which stops within its grace.

        AssertionError with its log otherwise.
        """
        self.terminate()
        try:
            return self.process.wait(self.grace_secs)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} runs after {self.grace_secs} s\n{self.log.read_text()}") from None


class Services:
    """The services of one compose file. `running` are those that were started last, by name."""

    def __init__(self, file: Path, network: Machines, folder: Path, variables: Mapping[str, str]) -> None:
        """`folder` holds what the services mount and write, `variables` are those of `.env`."""
        self._file, self._network, self._folder = file, network, folder
        services = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
        self.table: dict[str, dict[str, Any]] = _interpolated(services, variables)
        self.running: dict[str, Service] = {}

    def up(self, name: str, more: Mapping[str, str] | None = None) -> Service:
        """Start a service with `more` in its environment, and wait until it is healthy."""
        service = self.start(name, more)
        deadline = time.monotonic() + _HEALTHY_SECS
        while not (service.is_listening() and service.is_healthy()):
            time.sleep(_BETWEEN_CHECKS_SECS)
            assert service.process.poll() is None, f"{name} has ended\n{service.log.read_text()}"
            assert time.monotonic() < deadline, f"{name} is not healthy\n{service.log.read_text()}"
        return service

    def start(self, name: str, more: Mapping[str, str] | None = None) -> Service:
        """Start a service, without waiting for it."""
        entry = self.table[name]
        image: dict[str, Any] = {"ENTRYPOINT": _ENTRYPOINTS.get(entry["image"].partition(":")[0], [])}
        if "build" in entry:
            image = _of_image(self._file.parent / entry["build"]["context"] / entry["build"]["dockerfile"])
        root = self._folder / name
        mounts = self._mounted(entry, root)
        command = [*entry.get("entrypoint", image.get("ENTRYPOINT", [])), *entry.get("command", image.get("CMD", []))]
        environment = {
            key: f"{root}{value}" if value.startswith(_FOLDERS_OF_IMAGES) and key != "PATH" else value
            for key, value in image.get("ENV", {}).items()
        }
        environment |= {key: str(value) for key, value in (entry.get("environment") or {}).items()}
        environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(more or {})}
        check = entry.get("healthcheck", {}).get("test", [])
        log = root / "log.txt"
        with log.open("ab") as output:
            process = self._at(name, command, mounts, environment).start(output.fileno())
        service = self.running[name] = Service(
            name,
            process,
            log,
            float(entry["stop_grace_period"].removesuffix("s")),
            signal.Signals[entry.get("stop_signal", "SIGTERM")],
            self._at(name, check[1:], mounts, environment),
        )
        return service

    def down(self) -> None:
        """Kill what still runs."""
        for service in self.running.values():
            if service.process.poll() is None:
                service.kill()

    def _at(self, name: str, words: list[str], mounts: Mapping[str, Path], environment: dict[str, str]) -> _Command:
        """The command as a process of the service's machine."""
        if mounts:
            targets = re.compile("|".join(map(re.escape, sorted(mounts, key=len, reverse=True))))
            words = [targets.sub(lambda found: str(mounts[found[0]]), word) for word in words]
        return _Command(words, self._network, name, environment, self._folder / name)

    def _mounted(self, entry: Mapping[str, Any], root: Path) -> dict[str, Path]:
        """Lay out the volumes of a service below `root`: where each path of the container is
        here.
        """
        root.mkdir(parents=True, exist_ok=True)
        mounts: dict[str, Path] = {}
        for volume in entry.get("volumes", []):
            source, target, *_ = volume.split(":")
            path = mounts[target] = Path(f"{root}{target}")
            if source.startswith("."):
                path.parent.mkdir(parents=True, exist_ok=True)
                given = self._file.parent / source
                if given.is_dir():
                    shutil.copytree(given, path, dirs_exist_ok=True)
                else:
                    shutil.copy(given, path)
            else:
                path.mkdir(parents=True, exist_ok=True)
        return mounts


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """Return `value` with its `${NAME:-default}`.

    Compose replaces them in the parsed file, so that an empty one stays text and is not YAML's
    null.
    """
    match value:
        case str():
            return _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2] or "", value)
        case dict():
            return {key: _interpolated(each, variables) for key, each in value.items()}
        case list():
            return [_interpolated(each, variables) for each in value]
    return value


def _of_image(dockerfile: Path) -> dict[str, Any]:
    """ENTRYPOINT, CMD and ENV of the last stage of a Dockerfile.

    The first two in their exec form.
    """
    stage = re.split(r"^FROM ", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)[-1]
    found: dict[str, Any] = {"ENV": {}}
    for instruction, rest in _INSTRUCTION.findall(stage.replace("\\\n", " ")):
        if instruction == "ENV":
            found["ENV"] |= dict(pair.split("=", 1) for pair in rest.split())
        else:
            found[instruction] = json.loads(rest)
    return found
