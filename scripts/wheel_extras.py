"""Install the wheel with each extra in turn, and start a server that uses it:
`wheel_extras.py WHEEL [EXTRA ...]`, run by the Python of an environment that has the wheel.

Without names it takes all extras of the wheel but those that are heavy (HEAVY) and the tools of the
tests. Standard library only: what the environment lacks is what the extra has to bring.
"""

import contextlib
import importlib.metadata
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HEAVY = ("mlx", "dev")
"""mlx takes 350 MB: `make test-mlx` has an environment of its own. dev are the tools of the
tests.
"""

START_SECS = 60
DEMO = '[[model]]\nname = "demo"\nprovider = "demo"\n'
AWAY = "127.0.0.1:9"
"""Nothing answers there: a server starts all the same."""

CONFIGURATIONS = {
    "dns": f'[[model]]\nname = "a"\ndiscovery = {{ type = "dns", name = "_a._tcp.b.test", server = "{AWAY}" }}\n',
    "grpc": f'[[model]]\nname = "a"\nprovider = "grpc"\napi_base = "grpc://{AWAY}"\n',
    "redis": f'[storage]\nurl = "redis://{AWAY}/0"\n{DEMO}',
    "socks": f'[[model]]\nname = "a"\napi_base = "http://a.test/v1"\nproxy = "socks5://{AWAY}"\n',
    "watch": f"[server]\nwatch = true\n{DEMO}",
}
"""What a server that needs the extra is configured with; of others the packages are imported."""
MODULES = {
    "litellm": ("litellm",),
    "llamacpp": ("chorus.inference.engines.llamacpp", "xllamacpp", "chorus.inference.server"),
    "mcp": ("chorus.mcp.sdk",),
    "mlx": ("mlx_lm",),
    "otel": ("opentelemetry.sdk.trace", "chorus.telemetry.otlp_exporter"),
}


def main() -> int:
    wheel, *extras = sys.argv[1:]
    known = importlib.metadata.metadata("chorus-llm").get_all("Provides-Extra") or []
    for extra in extras or sorted(set(known) - set(HEAVY)):
        if extra not in CONFIGURATIONS and extra not in MODULES:
            print(f"{extra}: scripts/wheel_extras.py does not say how it is tried", file=sys.stderr)
            return 1
        began = time.monotonic()
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{wheel}[{extra}]"], check=True)
        installed = time.monotonic()
        for module in MODULES.get(extra, ()):
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        start(CONFIGURATIONS.get(extra, DEMO))
        print(f"{extra}: installs ({installed - began:.1f} s) and starts ({time.monotonic() - installed:.1f} s)")
    return 0


def start(configuration: str) -> None:
    """Start a server with `configuration`, wait until it answers, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(configuration, "utf-8")
        with running(file) as (process, port):
            end = time.monotonic() + START_SECS
            while not answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the server does not start with:\n{configuration}")
                time.sleep(0.1)
        if process.returncode != 0:
            raise SystemExit(f"the server ended with {process.returncode}")


@contextlib.contextmanager
def running(file: Path) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHORUS")}
    command = [sys.executable, "-m", "chorus", "serve", "--config", str(file), "--port", str(port)]
    env = {**clean, "HOME": str(file.parent), "CHORUS_LOG": "error"}
    process = subprocess.Popen(command, cwd=file.parent, env=env, stdout=subprocess.DEVNULL)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait(START_SECS)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
