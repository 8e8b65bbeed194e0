"""Documents that cannot rot: links, routes, error codes, configuration and curl examples (T3)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus import config as configuration
from chorus import errors
from chorus.errors import ChorusError, ConfigError
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.stats import StatsFeed
from chorus.server.app import batch_routes, table
from chorus.service import Chorus
from chorus.snapshot import workflow_problems
from tests.kit import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "zh").glob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
ANCHORED = re.compile(r"\]\((?!https?:)([^)#\s]*\.md)?#([^)\s]+)\)")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document, as GitHub makes them of its headings, and its own."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return {*slugs, *re.findall(r'<a id="([^"]+)">', text)}


def configurations() -> Iterator[tuple[str, str]]:
    for path in DOCUMENTS:
        for number, text in enumerate(blocks(path, "toml")):
            if "[[model]]" in text:
                yield f"{path.parent.name}-{path.name}-{number}", text


def curls() -> list[str]:
    found = [text for path in DOCUMENTS for text in blocks(path, "bash")]
    return list(dict.fromkeys(text for text in found if text.startswith("curl ")))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.name}")
@pytest.mark.requirement("T3")
def test_links_lead_somewhere(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", [name for name, _ in configurations()])
@pytest.mark.requirement("T3")
def test_configuration_examples_load(name: str) -> None:
    config = configuration.loads(dict(configurations())[name], environ={}, find_problems=workflow_problems)
    assert config.models


@pytest.mark.parametrize("command", curls())
@pytest.mark.requirement("T3")
def test_curl_examples_run(demo: ServerProcess, command: str) -> None:
    text = command.replace("http://127.0.0.1:11435", demo.base)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout
    assert not done.stdout.startswith('{"error"')


@pytest.mark.requirement("T3")
def test_python_examples_compile_and_the_readme_has_its_sections() -> None:
    for path in DOCUMENTS:
        for text in blocks(path, "python"):
            compile(text, path.name, "exec")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "README.en.md" in readme
    for section in ("特性", "架构", "配置", "API", "工作流", "开发者指南", "故障排除", "安全", "指标", "路线图"):
        assert f"\n## {section}" in readme
    assert "llm_generated_tokens_total" in readme


@pytest.mark.requirement("T3")
def test_every_route_is_documented() -> None:
    config = configuration.loads('[[model]]\nname = "m"\nprovider = "demo"\n', environ={})
    text = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    chorus = Chorus(config)
    missing = [
        route.openapi_path
        for route in [
            *table(chorus, config, BackgroundRuns(chorus), StatsFeed(chorus)),
            *batch_routes(chorus, config, (), None)[0],
        ]
        if f"`{route.openapi_path}`" not in text
    ]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.name}")
@pytest.mark.requirement("T3")
def test_anchors_of_links_exist(path: Path) -> None:
    links = ANCHORED.findall(path.read_text(encoding="utf-8"))
    missing = [
        f"{name}#{anchor}" for name, anchor in links if anchor not in anchors(path.parent / name if name else path)
    ]
    assert missing == []


def kinds() -> list[type[ChorusError]]:
    every = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ChorusError)]
    return [kind for kind in every if kind not in (ChorusError, ConfigError)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
@pytest.mark.requirement("T3")
def test_every_error_is_documented_and_in_the_drawing_of_the_tree(kind: type[ChorusError]) -> None:
    text = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    assert f"| {kind.status} | `{kind.code}` |" in text
    assert errors.__doc__ is not None
    assert re.search(rf"{kind.__name__}\s+{kind.status}\s+{kind.code}\b", errors.__doc__)
