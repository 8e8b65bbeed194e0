"""`chorus init`: look for models that can be used here, and write a configuration that works."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import tomli_w
import typer

from chorus.certificates import trusted_by
from chorus.config.load import default_path
from chorus.errors import ChorusError
from chorus.files import SHARED, replace_file

EXAMPLE = "chorus init --config ~/.config/chorus/config.toml"

_OLLAMA_SECS = 2.0
_MOST_LOCAL_MODELS = 3
"""A laptop that runs more models at a time answers slower, not better."""


@dataclass(frozen=True, slots=True)
class AvailableModel:
    """A model that can be used here. `key_variable` is the environment variable that holds its
    key."""

    name: str
    api_base: str
    provider: str = "openai"
    model: str | None = None
    key_variable: str | None = None


_HOSTED: Final = (
    AvailableModel("gpt", "https://api.openai.com/v1", model="gpt-5-mini", key_variable="OPENAI_API_KEY"),
    AvailableModel(
        "claude", "https://api.anthropic.com/v1", model="claude-sonnet-4-5", key_variable="ANTHROPIC_API_KEY"
    ),
    AvailableModel(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        model="gemini-2.5-flash",
        key_variable="GEMINI_API_KEY",
    ),
    AvailableModel("deepseek", "https://api.deepseek.com/v1", model="deepseek-chat", key_variable="DEEPSEEK_API_KEY"),
    AvailableModel(
        "kimi", "https://api.moonshot.cn/v1", model="kimi-k2-turbo-preview", key_variable="MOONSHOT_API_KEY"
    ),
    AvailableModel(
        "qwen",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        model="qwen-plus",
        key_variable="DASHSCOPE_API_KEY",
    ),
    AvailableModel("glm", "https://open.bigmodel.cn/api/paas/v4", model="glm-4.6", key_variable="ZHIPUAI_API_KEY"),
    AvailableModel(
        "mistral", "https://api.mistral.ai/v1", model="mistral-medium-latest", key_variable="MISTRAL_API_KEY"
    ),
    AvailableModel("grok", "https://api.x.ai/v1", model="grok-4", key_variable="XAI_API_KEY"),
)
_REFUSE_TEMPERATURE: Final = frozenset({"OPENAI_API_KEY"})
"""Reasoning models answer 400 to any temperature of ours."""


def run(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Where to write; ~/.config/chorus/config.toml otherwise.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Find a local Ollama and API keys in the environment, and write a configuration that uses
    them."""
    path = config or default_path(os.environ)
    if path.exists() and not force:
        raise ChorusError(f"{path} exists; --force replaces it, --config names another")
    models = _distinct([*_local(os.environ), *_hosted(os.environ)])
    if not models:
        variables = ", ".join(str(model.key_variable) for model in _HOSTED)
        raise ChorusError(
            "found neither a running Ollama with a model nor an API key. Start Ollama and pull a model, or set one "
            f"of {variables}; `chorus demo` works without either"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, _written(models).encode(), new_mode=SHARED)  # it names variables, and holds no key
    for model in models:
        print(f"- {model.name}: {model.model or model.name} at {model.api_base}")
    print(f"{path} is written. Next: `chorus check`, then `chorus serve`.", file=sys.stdout)


def _local(environ: Mapping[str, str]) -> Sequence[AvailableModel]:
    """The models of a running Ollama; it is asked nothing but its list, without the proxies of the
    environment, of which httpx cannot use those that speak SOCKS."""
    host = environ.get("OLLAMA_HOST") or "127.0.0.1:11434"
    base = (host if "://" in host else f"http://{host}").rstrip("/").replace("//0.0.0.0", "//127.0.0.1")
    try:
        listed = (
            httpx.get(f"{base}/api/tags", timeout=_OLLAMA_SECS, trust_env=False, verify=trusted_by(base))
            .raise_for_status()
            .json()
        )
        names = [str(entry["name"]) for entry in listed["models"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return ()
    # a name of the workflows' own means that another Chorus answers there
    chat = [name for name in names if "embed" not in name and name.split("/")[0].split(":")[0] != "chorus"]
    return [AvailableModel(name.removesuffix(":latest"), base, "ollama", name) for name in chat[:_MOST_LOCAL_MODELS]]


def _hosted(environ: Mapping[str, str]) -> Sequence[AvailableModel]:
    return [model for model in _HOSTED if model.key_variable and environ.get(model.key_variable)]


def _distinct(entries: Sequence[AvailableModel]) -> list[AvailableModel]:
    """The same models with names of their own: a local `mistral` and a hosted one may both be
    here."""
    taken: set[str] = set()
    distinct: list[AvailableModel] = []
    for entry in entries:
        model, name = entry.model or entry.name, entry.name
        while name in taken:
            name += "-hosted"
        taken.add(name)
        distinct.append(replace(entry, name=name, model=model))
    return distinct


def _written(models: Sequence[AvailableModel]) -> str:
    """The file: every model, and a workflow over them whose judge is the last one found. Keys stay
    in the environment."""
    tables: list[dict[str, Any]] = []
    for model in models:
        entry: dict[str, Any] = {"name": model.name, "provider": model.provider, "api_base": model.api_base}
        if model.model and model.model != model.name:
            entry["model"] = model.model
        if model.key_variable:
            entry["api_key"] = f"${{{model.key_variable}}}"
        if model.key_variable in _REFUSE_TEMPERATURE:
            entry["temperature"] = "none"
        tables.append(entry)
    judge = {"ref": models[-1].name}
    workers = [{"ref": model.name} for model in models]
    if len(workers) == 1:  # one model asked twice still beats one answer
        workers = [{"ref": models[0].name, "samples": 2}]  # type: ignore[dict-item]
    workflow = {"workers": workers, "selector": judge, "synthesizer": judge}
    head = (
        "# Written by `chorus init`. docs/CONFIGURATION.md explains every key; `chorus check` shows what it does.\n\n"
    )
    return head + tomli_w.dumps({"server": {"port": 11435}, "model": tables, "workflow-integration": workflow})
