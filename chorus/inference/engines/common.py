"""What engines share: stop words, and the checks before a model is loaded.

Nothing is ever downloaded.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from chorus.errors import ConfigError, Problem
from chorus.types import ChatRequest


def model_folder(model: str) -> Path:
    """Return the folder `model`.

    Raises:
        ConfigError: there is none, or it holds no model.
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        raise ConfigError([Problem("model", f"{_fault(path)}; expected a folder (nothing is downloaded)")])
    if not (path / "config.json").is_file():
        raise ConfigError([Problem("model", f"{path} holds no config.json; expected the folder of a model")])
    return path


def model_file(model: str) -> Path:
    """Return the file `model`.

    Raises:
        ConfigError: there is none.
    """
    path = Path(model).expanduser()
    if not path.is_file():
        raise ConfigError([Problem("model", f"{_fault(path)}; expected a .gguf file (nothing is downloaded)")])
    return path


def _fault(path: Path) -> str:
    return f"{path} is of another kind" if path.exists() else f"{path} does not exist"


def missing_package(engine: str, extra: str, problem: ImportError) -> ConfigError:
    """Return the error for an engine whose package is not installed."""
    reason = f"{engine} needs an extra: pip install 'chorus-llm[{extra}]' ({problem})"
    return ConfigError([Problem("engine", reason)])


def with_stops(request: ChatRequest, words: tuple[str, ...]) -> ChatRequest:
    """Return the request with the stop words of its own and `words`."""
    if not words:
        return request
    sampling = msgspec.structs.replace(request.sampling, stop=tuple(dict.fromkeys((*request.sampling.stop, *words))))
    return msgspec.structs.replace(request, sampling=sampling)
