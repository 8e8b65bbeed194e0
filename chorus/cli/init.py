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

from chorus.config.load import default_path
from chorus.errors import ChorusError
from chorus.files import SHARED, replace_file

EXAMPLE = "chorus init --config ~/.config/chorus/config.toml"

_OLLAMA_SECS = 2.0
_MOST_LOCAL_MODELS = 3
"""A laptop that runs more models at a time answers slower, not better."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model that can be used here. `key_variable` is the environment variable that holds its key."""

    name: str
    api_base: str
    provider: str = "openai"
    model: str | None = None
    key_variable: str | None = None


_HOSTED: Final = (
    Found("gpt", "https://api.openai.com/v1", model="gpt-5-mini", key_variable="OPENAI_API_KEY"),
    Found("claude", "https://api.anthropic.com/v1", model="claude-sonnet-4-5", key_variable="ANTHROPIC_API_KEY"),
    Found(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        model="gemini-2.5-flash",
        key_variable="GEMINI_API_KEY",
    ),
    Found("deepseek", "https://api.deepseek.com/v1", model="deepseek-chat", key_variable="DEEPSEEK_API_KEY"),
    Found("kimi", "https://api.moonshot.cn/v1", model="kimi-k2-turbo-preview", key_variable="MOONSHOT_API_KEY"),
    Found(
        "qwen",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        model="qwen-plus",
        key_variable="DASHSCOPE_API_KEY",
    ),
    Found("glm", "https://open.bigmodel.cn/api/paas/v4", model="glm-4.6", key_variable="ZHIPUAI_API_KEY"),
    Found("mistral", "https://api.mistral.ai/v1", model="mistral-medium-latest", key_variable="MISTRAL_API_KEY"),
    Found("grok", "https://api.x.ai/v1", model="grok-4", key_variable="XAI_API_KEY"),
)
_REFUSE_TEMPERATURE: Final = frozenset({"OPENAI_API_KEY"})
"""Reasoning models answer 400 to any temperature of ours."""


def run(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Where to write; ~/.config/chorus/config.toml otherwise.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Find a local Ollama and API keys in the environment, and write a configuration that uses them."""
    path = config or default_path(os.environ)
    if path.exists() and not force:
        raise ChorusError(f"{path} exists; --force replaces it, --config names another")
    found = _distinct([*_local(os.environ), *_hosted(os.environ)])
    if not found:
        variables = ", ".join(str(each.key_variable) for each in _HOSTED)
        raise ChorusError(
            "found neither a running Ollama with a model nor an API key. Start Ollama and pull a model, or set one "
            f"of {variables}; `chorus demo` works without either"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, _written(found).encode(), new_mode=SHARED)  # it names variables, and holds no key
    for each in found:
        print(f"- {each.name}: {each.model or each.name} at {each.api_base}")
    print(f"{path} is written. Next: `chorus check`, then `chorus serve`.", file=sys.stdout)


def _local(environ: Mapping[str, str]) -> Sequence[Found]:
    """The models of a running Ollama; it is asked nothing but its list, without the proxies of the environment, of which
    httpx cannot use those that speak SOCKS."""
    host = environ.get("OLLAMA_HOST") or "127.0.0.1:11434"
    base = (host if "://" in host else f"http://{host}").rstrip("/").replace("//0.0.0.0", "//127.0.0.1")
    try:
        listed = httpx.get(f"{base}/api/tags", timeout=_OLLAMA_SECS, trust_env=False).raise_for_status().json()
        names = [str(entry["name"]) for entry in listed["models"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return ()
    # a name of the workflows' own means that another Chorus answers there
    chat = [name for name in names if "embed" not in name and name.split("/")[0].split(":")[0] != "chorus"]
    return [Found(name.removesuffix(":latest"), base, "ollama", name) for name in chat[:_MOST_LOCAL_MODELS]]


def _hosted(environ: Mapping[str, str]) -> Sequence[Found]:
    return [each for each in _HOSTED if each.key_variable and environ.get(each.key_variable)]


def _distinct(found: Sequence[Found]) -> list[Found]:
    """The same models with names of their own: a local `mistral` and a hosted one may both be here."""
    taken: set[str] = set()
    told: list[Found] = []
    for each in found:
        model, name = each.model or each.name, each.name
        while name in taken:
            name += "-hosted"
        taken.add(name)
        told.append(replace(each, name=name, model=model))
    return told


def _written(found: Sequence[Found]) -> str:
    """The file: every model, and a workflow over them whose judge is the last one found. Keys stay in the environment."""
    models: list[dict[str, Any]] = []
    for each in found:
        entry: dict[str, Any] = {"name": each.name, "provider": each.provider, "api_base": each.api_base}
        if each.model and each.model != each.name:
            entry["model"] = each.model
        if each.key_variable:
            entry["api_key"] = f"${{{each.key_variable}}}"
        if each.key_variable in _REFUSE_TEMPERATURE:
            entry["temperature"] = "none"
        models.append(entry)
    judge = {"ref": found[-1].name}
    workers = [{"ref": each.name} for each in found]
    if len(workers) == 1:  # one model asked twice still beats one answer
        workers = [{"ref": found[0].name, "samples": 2}]  # type: ignore[dict-item]
    workflow = {"workers": workers, "selector": judge, "synthesizer": judge}
    head = (
        "# Written by `chorus init`. docs/CONFIGURATION.md explains every key; `chorus check` shows what it does.\n\n"
    )
    return head + tomli_w.dumps({"server": {"port": 11435}, "model": models, "workflow-integration": workflow})
