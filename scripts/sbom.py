"""Write the software bill of materials of the wheel: `python -m scripts.sbom [FILE]`,
dist/chorus-llm-VERSION.cdx.json otherwise.

It lists what an empty environment holds after `pip install chorus-llm[EXTRAS]`, with all extras but
those of HEAVY, as CycloneDX JSON. The tool that reads the environment is kept in `.clients/sbom`.
Standard library only.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from scripts.wheel_extras import HEAVY

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / ".clients" / "sbom"
PACKAGE = "cyclonedx-bom>=7,<8"
PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check")
ON_THIS_MACHINE = re.compile(r"(?i)^(?:file:|/)|^[a-z]:\\")


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = ",".join(sorted(set(project["optional-dependencies"]) - set(HEAVY)))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place / "dist"))
        [wheel] = (place / "dist").glob("*.whl")
        run(sys.executable, "-m", "venv", str(place / "env"))
        python = place / "env" / "bin" / "python"
        run(str(python), *PIP, f"{wheel}[{extras}]")
        run(str(python), "-m", "pip", "uninstall", "-q", "-y", "--disable-pip-version-check", "pip", "setuptools")
        version = wheel.name.split("-")[1]
        document = bill(python, version)
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / f"chorus-llm-{version}.cdx.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(f"{file}: {len(document['components'])} packages")
    return 0


def bill(python: Path, version: str) -> dict[str, Any]:
    """The bill of what is installed beside the interpreter `python`, with this `version` of
    Chorus.
    """
    tool = TOOL / "bin" / "cyclonedx-py"
    if not tool.exists():
        run(sys.executable, "-m", "venv", "--clear", str(TOOL))
        run(str(TOOL / "bin" / "python"), *PIP, PACKAGE)
    command = [str(tool), "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    text = subprocess.run(
        [*command, "--output-format", "JSON", str(python)], check=True, capture_output=True, text=True
    ).stdout
    document: dict[str, Any] = json.loads(text)
    document["metadata"]["component"].update(version=version, purl=f"pkg:pypi/chorus-llm@{version}")
    return without_origins(document)


def without_origins(document: dict[str, Any]) -> dict[str, Any]:
    """`document` without where packages came from: that is the index of whoever built it, or a file
    of theirs. What a package says of itself (its home page, its documentation) stays.
    """
    for component in (document["metadata"]["component"], *document["components"]):
        kept = [
            reference
            for reference in component.pop("externalReferences", ())
            if reference["type"] != "distribution" and not ON_THIS_MACHINE.match(reference["url"])
        ]
        if kept:
            component["externalReferences"] = kept
    return document


def run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
