"""`chorus demo`: the whole server on in-process models, without key, network and file (M1)."""

from __future__ import annotations

from importlib.resources import files

from chorus import config as configuration
from chorus.cli.common import HostOption, PortOption
from chorus.config import Config
from chorus.serving.server import run_server

EXAMPLE = "chorus demo --port 11435"

_ANNOUNCEMENT = """\
Chorus demo at {address}. Its models are small programs in this process, no language models: they know Chorus's handbook,
arithmetic and a few operations on text. `chorus init` sets up real ones.

See several models answer, one chosen, and why:

  {address}/ui/

The same without a browser (the trace is in the last event):

  curl -sN {address}/v1/chat/completions -d '{{"model":"chorus","stream":true,"include_workflow":true,
    "messages":[{{"role":"user","content":"What is 17 * 23 + 4?"}}]}}'

More to try:
  "How does the selector choose?"     the librarian reads the handbook
  "moody: fail. What is 2 + 2?"       one worker fails, and the answer comes all the same
  "moody: slow. What is 2 + 2?"       one worker takes its time
  {address}/api/v1/workflows          the traces of the last requests
  any OpenAI client at {address}/v1, any Ollama client at {address}

Ctrl-C stops it."""


def demo_config() -> Config:
    """The built-in configuration."""
    text = (files("chorus.cli") / "demo.toml").read_text(encoding="utf-8")
    return configuration.loads(text, source="the built-in demo configuration", environ={})


def run(host: HostOption = None, port: PortOption = None) -> None:
    """Start the server with built-in demo models: no key, no network, no configuration file."""
    run_server(demo_config(), host, port, _ANNOUNCEMENT)
