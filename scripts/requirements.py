"""docs/REQUIREMENTS.md: every requirement with the tests that hold it:
`python -m scripts.requirements`.
"""

from __future__ import annotations

import re
import textwrap
from itertools import groupby
from pathlib import Path

from tests.requirements import GROUPS, SENTENCES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "REQUIREMENTS.md"
MARK = re.compile(r"""mark\.requirement\(["'](\w+)["']\)""")
INTRODUCTION = """# Requirements

Codes such as `W6` in code, tests and documents are requirements of the specification. This page says
what each requires, and which test files hold it. It is made by `python -m scripts.requirements` from
`tests/requirements.py` and from the marks of the tests; `python -m pytest tests/test_requirements.py`
fails when it is out of date.
"""


def holders() -> dict[str, set[str]]:
    """Which test files name each requirement, by paths from the root."""
    files: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for code in MARK.findall(path.read_text(encoding="utf-8")):
            files.setdefault(code, set()).add(path.relative_to(ROOT).as_posix())
    return files


def document() -> str:
    """The text of docs/REQUIREMENTS.md."""
    files = holders()
    parts = [INTRODUCTION]
    for letter, codes in groupby(SENTENCES, key=lambda code: code[0]):
        parts.append(f"\n## {GROUPS[letter]}\n")
        for code in codes:
            parts.append(f"\n### {code}\n\n{textwrap.fill(SENTENCES[code], 100, break_long_words=False)}\n\n")
            parts += [f"- [{name}](../{name})\n" for name in sorted(files.get(code, ()))]
    return "".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
