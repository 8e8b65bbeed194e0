"""Make the virtual environment that the Makefile's targets run in: `venv.py DIRECTORY [EXTRA]`.

Standard library only: this is the first thing a bare machine runs. Chooses the first of python3.13
to 3.11 when the one that runs it is older, and says in one sentence what is missing when there is
none.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)


def main() -> int:
    directory, extra = Path(sys.argv[1]), sys.argv[2:]
    python = find_python()
    if python is None:
        print("Chorus needs Python 3.11 or newer; set PYTHON=/path/to/python3.11", file=sys.stderr)
        return 1
    if not (directory / "bin" / "python").exists() and subprocess.call([python, "-m", "venv", str(directory)]) != 0:
        print(f"{python} cannot make a virtual environment (Debian: apt install python3-venv)", file=sys.stderr)
        return 1
    target = ".[dev]" if extra else "."
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-e", target]
    if (code := subprocess.call(pip)) != 0:
        return code
    (directory / ".installed").touch()
    if extra:
        (directory / ".installed-dev").touch()
    return 0


def find_python() -> "str | None":
    if sys.version_info >= OLDEST:
        return sys.executable
    names = ("python3.13", "python3.12", "python3.11")
    return next((path for path in map(shutil.which, names) if path and works(path)), None)


def works(python: str) -> bool:
    # a pyenv shim exists for versions that are not installed
    return subprocess.call([python, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.exit(main())
