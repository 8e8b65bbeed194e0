"""What must, and must not, be in the repository (T5)."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import HEAVY

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = re.compile(r"index-url\s*=|https?://[^ ]+/simple(/|\"|$)|/(work|root)/(main|\.)|BEGIN [A-Z ]*PRIVATE KEY")
LOCK_FILES = ("uv.lock", "pylock.toml", "package-lock.json", "poetry.lock")


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines()]


@pytest.mark.requirement("T5")
def test_no_index_host_lock_file_machine_path_or_private_key() -> None:
    me = Path(__file__)
    for path in tracked():
        assert path.name not in LOCK_FILES
        if path != me and path.exists():
            found = FORBIDDEN.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{path.name}: {found}"


@pytest.mark.requirement("T5")
def test_the_licence_is_mit_and_nobody_is_told_to_install_a_package_that_is_not_ours() -> None:
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    for path in tracked():
        if path.suffix == ".md" and path.exists():
            commands = re.findall(
                r"^\s*\$?\s*pip install (chorus)\b(?!-llm)", path.read_text(encoding="utf-8"), re.MULTILINE
            )
            assert commands == [], path.name


@pytest.mark.parametrize("name", HEAVY)
def test_the_files_that_begin_first_exist(name: str) -> None:
    assert (ROOT / name).is_file()
