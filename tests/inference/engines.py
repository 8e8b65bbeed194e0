"""The engines with the tiny model, each as a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients import environments
from tests.inference.tiny import HELLO, TEMPLATE, write_folder, write_gguf
from tests.kit.command import ROOT
from tests.kit.worker import WorkerProcess


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An engine, and where its package is."""

    name: str
    environment: str
    options: tuple[str, ...] = ()

    def worker(self, folder: Path, *args: str, words: Sequence[str] = HELLO, template: str = TEMPLATE) -> WorkerProcess:
        """A worker of the model `glm`, which is written into `folder`."""
        if self.name == "llamacpp":
            model = write_gguf(folder / "tiny.gguf", words, template)
        else:
            model = write_folder(folder / "tiny", words, template)
        path = f"{ROOT}:{environments.site(self.environment)}"
        options = [part for option in self.options for part in ("--option", option)]
        return WorkerProcess("--model", str(model), "--name", "glm", *options, *args, env={"PYTHONPATH": path})


LLAMACPP = EngineKind("llamacpp", "llamacpp", ("n_threads=1",))
"""With one thread: several wait for each other by spinning, which on a busy machine takes ten times
the CPU.
"""
MLX = EngineKind("mlx-lm", "mlx")
