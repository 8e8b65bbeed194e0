"""What belongs to a release: one version, a section of the changelog, a bill of materials without
origins.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from chorus import __version__
from scripts.sbom import without_origins
from scripts.wheel_extras import CONFIGURATIONS, DEMO, HEAVY, MODULES
from tests.kit.command import chorus

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_has_a_section_of_the_changelog_below_an_unreleased_one() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", headings[1])


def test_every_extra_is_tried_with_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["optional-dependencies"]) == {*CONFIGURATIONS, *MODULES, *HEAVY}


def test_their_configurations_are_good(tmp_path: Path) -> None:
    for name, text in {**CONFIGURATIONS, "demo": DEMO}.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        assert chorus("check", str(path), home=tmp_path).returncode == 0, name


def test_a_bill_of_materials_names_no_index_and_no_file() -> None:
    home = {"type": "website", "url": "https://example.com"}
    origins = [
        {"type": "distribution", "url": "https://index.example/a-1.whl"},
        {"type": "other", "url": "file:///tmp/a-1.whl"},
        {"type": "other", "url": "/tmp/a-1.whl"},
    ]
    document = {
        "metadata": {"component": {"name": "chorus-llm", "externalReferences": origins}},
        "components": [{"name": "a", "externalReferences": [*origins, home]}, {"name": "b"}],
    }
    assert without_origins(document) == {
        "metadata": {"component": {"name": "chorus-llm"}},
        "components": [{"name": "a", "externalReferences": [home]}, {"name": "b"}],
    }
