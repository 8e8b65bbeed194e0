"""`Engine`: what generates the tokens of a worker's model, and the table of engines (I1).

An engine is an `Upstream`, as a provider of the gateway is: it gets a `Call` and streams chunks. So
stop words, thinking and tool calls are read by the same code on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from chorus.llm.base import Upstream
from chorus.llm.embed import Embedder

ENGINES: Final[Mapping[str, str]] = {
    "mlx-lm": "chorus.inference.engines.mlx.upstream",
    "llamacpp": "chorus.inference.engines.llamacpp",
    "openai": "chorus.inference.engines.openai",
    "echo": "chorus.inference.engines.echo",
}
"""Where each engine's `engine` is. Its package is imported only by a worker that runs it."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What a worker says to its engine."""

    name: str
    """What the model is called on the wire."""
    model: str = ""
    """A folder, a file or an address, whichever the engine loads."""
    chat_template: str | None = None
    """A Jinja template that takes the place of the model's own."""
    max_concurrency: int = 1
    """The answers that are generated at a time."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The engine's own settings."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A loaded model that has generated once. `embedder` is None where it does not embed."""

    upstream: Upstream
    embedder: Embedder | None = None


class EngineFactory(Protocol):
    """The function `engine` of an engine's module."""

    def __call__(self, settings: EngineSettings) -> AbstractAsyncContextManager[Engine]:
        """Load the model on entering; free it on leaving, when no call is going on.

        Raises:
            ConfigError: on entering; the model, or the engine's package, is not there.
        """
        ...


def engine_of(name: str) -> EngineFactory:
    """Return the engine `name`.

    Raises:
        KeyError: there is none.
    """
    factory: EngineFactory = import_module(ENGINES[name]).engine
    return factory


def engine_that_loads(model: str) -> str | None:
    """Return the engine that fits `model`: a folder, a `.gguf` file or an address.

    None where none does.
    """
    if model.startswith(("http://", "https://")):
        return "openai"
    path = Path(model)
    if not model or not path.exists():
        return None
    return "mlx-lm" if path.is_dir() else "llamacpp"
