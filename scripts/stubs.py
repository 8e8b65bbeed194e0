"""Generate the stubs of the worker's wire from `proto/`: `stubs.py [FOLDER]`, from the root of the
checkout.

The generator has an environment of its own: its output runs with every protobuf and grpcio that is
as new as the generator, and refuses older ones, so that it is older than what we use.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROTO = "proto/chorus/worker/v1/inference.proto"


def generate(folder: Path) -> None:
    """Write the stubs below `folder`."""
    sys.path.insert(0, str(ROOT))
    from tests.clients import environments

    out = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
    command = [environments.python("stubs"), "-m", "grpc_tools.protoc", "-I", "proto", *out, PROTO]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT).resolve())
