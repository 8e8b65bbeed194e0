"""Make a virtual environment with the lowest versions that pyproject.toml allows:
`lowest.py DIRECTORY`.

Only what Chorus itself needs, with all extras, is pinned to its lower bound; the tools of the tests
are the newest. Standard library only. Needs Python 3.11 or newer.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = "dev"
"""The extra with the tools of the tests."""


def main() -> int:
    directory = Path(sys.argv[1])
    python = directory / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    pins = directory / "lowest.txt"
    pins.write_text("\n".join(lowest(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"])), "utf-8")
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    return subprocess.call([*pip, "-c", str(pins), "-e", f"{ROOT}[{TOOLS}]"])


def lowest(project: "dict[str, object]") -> "list[str]":
    """The pins of the lowest versions of what Chorus needs."""
    extras = {name: entries for name, entries in project["optional-dependencies"].items() if name != TOOLS}
    entries = [*project["dependencies"], *(entry for entries in extras.values() for entry in entries)]
    own = f"{project['name']}["  # an extra that has the packages of another one
    return sorted({pin(entry) for entry in entries if not entry.startswith(own)})


def pin(entry: str) -> str:
    """`name[extra]>=1.2,<2; marker` as `name==1.2; marker`: pip takes no extras in constraints."""
    requirement, _, marker = entry.partition(";")
    found = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)(?:,<[\w.]+)?", requirement.strip())
    if found is None:
        raise SystemExit(f"pyproject.toml: '{entry}' has no lower bound of the form name>=1.2")
    return f"{found[1]}=={found[2]}" + (f"; {marker.strip()}" if marker else "")


if __name__ == "__main__":
    sys.exit(main())
