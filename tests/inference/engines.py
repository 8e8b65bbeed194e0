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

    def worker(self, folder: Path, *args: str, words: Sequence[str] = HELLO, template: str = TEMPLATE) -> WorkerProcess:
        """A worker of the model `glm`, which is written into `folder`."""
        if self.name == "llamacpp":
            model = write_gguf(folder / "tiny.gguf", words, template)
        else:
            model = write_folder(folder / "tiny", words, template)
        path = f"{ROOT}:{environments.site(self.environment)}"
        return WorkerProcess("--model", str(model), "--name", "glm", *args, env={"PYTHONPATH": path})


LLAMACPP = EngineKind("llamacpp", "llamacpp")
MLX = EngineKind("mlx-lm", "mlx")
