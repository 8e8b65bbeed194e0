"""The example of a provider in a package of its own: it is installed, its configuration checked,
and its model asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.command import ROOT, process

EXAMPLE = ROOT / "examples" / "chorus-provider-example"
CONFIG = EXAMPLE / "config.toml"


def install(site: Path, name: str, entry_point: str) -> None:
    """Write what an installer writes for a package with one provider."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[chorus.providers]\n{entry_point}\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the installed example."""
    install(tmp_path, "chorus_provider_example", "hello = chorus_provider_example:hello")
    shutil.copy(EXAMPLE / "chorus_provider_example.py", tmp_path)
    return tmp_path


def chorus(*words: str, site: Path) -> subprocess.CompletedProcess[str]:
    """Run the command with the packages that are installed in `site`."""
    return process(*words, home=site, PYTHONPATH=f"{site}{os.pathsep}{ROOT}")


def test_the_dist_info_says_what_the_package_declares() -> None:
    assert 'hello = "chorus_provider_example:hello"' in (EXAMPLE / "pyproject.toml").read_text()


def test_an_installed_provider_answers(site: Path) -> None:
    checked = chorus("check", str(CONFIG), site=site)
    assert checked.returncode == 0, checked.stderr
    asked = chorus("ask", "--config", str(CONFIG), "--model", "greeter", "Is anybody there?", site=site)
    assert asked.stdout.strip() == "hello", asked.stderr


@pytest.mark.requirement("C5")
def test_without_the_package_the_provider_is_refused_by_name(tmp_path: Path) -> None:
    refused = chorus("check", str(CONFIG), site=tmp_path)
    assert refused.returncode == 2
    assert '[[model]] "greeter" provider: found "hello", expected "openai", "ollama", "responses", ' in refused.stderr


@pytest.mark.requirement("C5")
def test_an_installed_provider_is_expected_beside_the_built_in_ones(site: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.read_text().replace('"hello"', '"helo"'))
    refused = chorus("check", str(config), site=site)
    assert refused.returncode == 2
    expected = '"grpc", "litellm", "demo" or "hello"; did you mean "hello"?'
    assert expected in refused.stderr


def test_a_provider_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    install(tmp_path, "broken", "hello = nowhere_at_all:hello")
    refused = chorus("ask", "--config", str(CONFIG), "--model", "greeter", "Is anybody there?", site=tmp_path)
    assert refused.returncode == 2
    assert "hello = nowhere_at_all:hello: this provider cannot be loaded (ModuleNotFoundError" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_package_does_not_replace_a_built_in_provider(tmp_path: Path) -> None:
    install(tmp_path, "pretender", "demo = nowhere_at_all:demo")
    asked = chorus("ask", "--demo", "--model", "demo-abacus", "What is 2 + 2?", site=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert "4" in asked.stdout
