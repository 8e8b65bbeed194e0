"""docs/CONFIGURATION.md is kept true: every table, every key, every default (T3), and its examples
load.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chorus.config import ModelConfig, ServerConfig, TraceConfig, WorkflowConfig, WorkflowSettings, loads
from chorus.config.limits import LimitConfig, LimitsConfig, StorageConfig
from chorus.config.memory import MemoryConfig
from chorus.config.schema import TABLES
from chorus.config.timeouts import PassThroughTimeouts
from chorus.config.worker import WorkerConfig
from chorus.config.workflows import KEYS as WORKFLOW_KEYS

DOCS = (Path(__file__).parents[2] / "docs" / "CONFIGURATION.md").read_text()
SECTIONS = dict(re.findall(r"^#{3,4} (\S+)\n\n(.*?)(?=^#|\Z)", DOCS, re.MULTILINE | re.DOTALL))
TABLES_OF_MODELS: dict[str, type[BaseModel]] = {
    "server": ServerConfig,
    "model": ModelConfig,
    "timeouts": PassThroughTimeouts,
    "workflow": WorkflowSettings,
    "workflow-integration": WorkflowConfig,
    "limits": LimitsConfig,
    "storage": StorageConfig,
    "memory": MemoryConfig,
    "trace": TraceConfig,
    "worker": WorkerConfig,
}


def _inner_table(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inner_table, get_args(annotation))), None)


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo | None]]:
    for name, field in model.model_fields.items():
        if name in ("tree", "tree_place"):
            continue
        yield f"{prefix}.{name}", field
        inner = _inner_table(field.annotation)
        # their keys are those of timeouts and of limits
        if inner and name != "domains" and inner is not LimitConfig:
            yield from _keys(inner, f"{prefix}.{name}")
    if model is WorkflowConfig:
        yield from ((f"{prefix}.{key}", None) for key in WORKFLOW_KEYS if key not in model.model_fields)


FIELDS = dict(item for table, model in TABLES_OF_MODELS.items() for item in _keys(model, table))


def test_every_table_has_a_heading() -> None:
    headings = re.findall(r"^## \[+([a-z-]+)", DOCS, re.MULTILINE)
    assert sorted(headings) == sorted(TABLES)


def test_every_key_has_a_heading_and_every_heading_a_key() -> None:
    assert SECTIONS.keys() == FIELDS.keys()


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field])
def test_defaults_are_those_of_the_schema(name: str) -> None:
    field, section = FIELDS[name], SECTIONS[name]
    assert field is not None
    if field.is_required():
        assert section.startswith("*Required*")
        return
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return  # a table; its keys have defaults of their own
    if default is None:
        assert re.match(r"Default: (none|the `name`)|\*Required\* unless", section)
        return
    value = list(default) if isinstance(default, tuple) else default
    if isinstance(value, float) and value >= 1:
        value = int(value)
    assert section.startswith(f"Default: `{json.dumps(value)}`")


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL))
def test_examples_load(example: str) -> None:
    model = "" if "[[model]]" in example else '[[model]]\nname = "a"\nprovider = "demo"\n'
    assert loads(model + example, environ={}).models


FILE = """
[[model]]
name = "glm-4.6"
api_base = "http://a:1/v1"
[[model]]
name = "glm"
provider = "demo"
[workflow-integration]
json = '{"workers": ["glm", "glm"], "synthesizer": {"ref": "glm"}}'
[workflows.panel]
workers = ["glm", "glm"]
selector = "glm"
"""
VARIABLES = re.findall(r"^\| `(CHORUS__[^`]*)` \|", DOCS, re.MULTILINE)


@pytest.mark.parametrize("variable", [variable for variable in VARIABLES if "..." not in variable])
def test_variables_of_the_table_set_their_keys(variable: str, tmp_path: Path) -> None:
    [written] = shlex.split(variable)
    name, _, value = written.partition("=")
    (tmp_path / "glm").write_text("a-key")
    environ = {name: value.replace("/run/secrets", str(tmp_path))}
    text = FILE.replace('api_base = "http://a:1/v1"', 'replicas = ["http://a:1/v1", "http://b:1/v1"]')
    assert [variable for _, variable in loads(text, environ=environ).overrides] == [name]
