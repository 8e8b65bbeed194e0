"""The example of node kinds in a package of its own: it is installed, its configuration checked,
and its workflow asked (W12).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.command import ROOT, process

EXAMPLE = ROOT / "examples" / "chorus-nodes-example"
ASK = ["ask", "--config", str(EXAMPLE / "config.toml")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, str(EXAMPLE)], check=True, capture_output=True, timeout=60)
    return folder


def chorus(*words: str, site: Path) -> subprocess.CompletedProcess[str]:
    """Run the command with the packages that are installed in `site`."""
    return process(*words, home=site, PYTHONPATH=f"{site}{os.pathsep}{ROOT}")


@pytest.mark.requirement("W12")
def test_installed_kinds_answer_and_select(site: Path) -> None:
    checked = chorus("check", str(EXAMPLE / "config.toml"), site=site)
    assert checked.returncode == 0, checked.stderr
    assert "faq (faq)" in checked.stdout
    assert "shortest (shortest)" in checked.stdout
    asked = chorus(*ASK, "What are your opening hours?", site=site)
    assert asked.stdout.strip() == "We are open from 9 to 17."
    assert "It needs the fewest words" in asked.stderr
    other = chorus(*ASK, "What is 2 + 2?", site=site)
    assert "4" in other.stdout
    assert "No prepared answer fits" in other.stderr


@pytest.mark.requirement("W12")
@pytest.mark.requirement("C5")
def test_without_the_package_its_kinds_are_refused_by_name(tmp_path: Path) -> None:
    refused = chorus("check", str(EXAMPLE / "config.toml"), site=tmp_path)
    assert refused.returncode == 2
    assert "unknown node kind 'faq'" in refused.stderr
    assert "unknown node kind 'shortest'; known kinds of selector: majority, reranker" in refused.stderr


@pytest.mark.requirement("W12")
def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (tmp_path / "broken-1.0.dist-info" / "entry_points.txt").write_text("[chorus.nodes]\noops = nowhere_at_all:KIND\n")
    refused = chorus("check", str(EXAMPLE / "config.toml"), site=tmp_path)
    assert refused.returncode == 2
    assert "oops = nowhere_at_all:KIND: this node kind cannot be loaded (ModuleNotFoundError" in refused.stderr
    assert "Traceback" not in refused.stderr
