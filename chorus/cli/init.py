"""`chorus init`: look for models that can be used here, and write a configuration that works."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import httpx
import tomli_w
import typer

from chorus.certificates import trusted_by
from chorus.cli.hosted import HOSTED
from chorus.cli.listing import Listing, listings
from chorus.config.load import default_path
from chorus.errors import ChorusError
from chorus.files import SHARED, replace_file
from chorus.llm.providers.traits import openai_traits
from chorus.redaction import KNOWN
from chorus.texts import Text

_FOUND: Final = Text("- {name}: {model} at {base}", "- {name}：{model}，位于 {base}")
_WRITTEN: Final = Text(
    "{path} is written. Next: `chorus check --live`, then `chorus serve`.",
    "已写入 {path}。下一步：`chorus check --live`，然后 `chorus serve`。",
)
_LEFT_OUT: Final = Text("- {where} is left out: {problem}", "- 略过 {where}：{problem}")
_NO_LIST: Final = Text(
    "- {where} has no list of models: {problem}; {usual} is written without asking",
    "- {where} 没有模型列表：{problem}；直接写入 {usual}，不作询问",
)
_MODELS: Final = Text("{where} has {count} models:", "{where} 有 {count} 个模型：")
_WHICH: Final = Text(
    "Numbers or names, by commas; Enter takes the first, 0 none: ",
    "输入序号或名称，以逗号分隔；回车取第一个，0 表示不要：",
)
_NOT_LISTED: Final = Text("  not in the list: {names}", "  不在列表中：{names}")
_JUDGE: Final = Text(
    "Which one judges the others ({names})? Enter takes {first}: ", "由哪个模型评审其余的（{names}）？回车取 {first}："
)
EXAMPLE = "chorus init --config ~/.config/chorus/config.toml"

_OLLAMA_SECS = 2.0
_MOST_LOCAL_MODELS = 3
"""A laptop that runs more models at a time answers slower, not better."""
_MOST_WORKERS: Final = 4
"""Workers of the workflow that is written: each request pays all of them."""
_PASSES: Final = 2
"""How often the judge is asked. With one pass, a judge who prefers the first place is worth no more
than the best worker: 70.3 % right against 90.0 % with two, best worker 70.0 %
(`python -m benchmarks.judging`)."""
_MOST_SHOWN: Final = 12
"""Models of one provider that are listed to choose from."""


@dataclass(frozen=True, slots=True)
class AvailableModel:
    """A model that can be used here. `key_variable` is the environment variable that holds its
    key."""

    name: str
    api_base: str
    provider: str = "openai"
    model: str | None = None
    key_variable: str | None = None


def run(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Where to write; ~/.config/chorus/config.toml otherwise.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Take the first model of each provider, and ask nothing.")
    ] = False,
) -> None:
    """Find a local Ollama and API keys in the environment, and write a configuration that uses
    them."""
    path = config or default_path(os.environ)
    if path.exists() and not force:
        raise ChorusError(f"{path} exists; --force replaces it, --config names another")
    KNOWN.add(os.environ[name] for provider in HOSTED for name in provider.variables if name in os.environ)
    asks = not yes and sys.stdin.isatty()
    hosted = [
        model
        for listing in anyio.run(listings, HOSTED, os.environ)
        for model in _chosen(listing, os.environ, asks=asks)
    ]
    models = _distinct([*hosted, *_local(os.environ)])
    if not models:
        variables = ", ".join(provider.variables[0] for provider in HOSTED)
        raise ChorusError(
            "found neither a running Ollama with a model nor an API key. Start Ollama and pull a model, or set one "
            f"of {variables}. For another server write a [[model]] as config-example.toml has it; `chorus demo` needs none"
        )
    judge = _asked_judge(models) if asks and len(models) > 1 else models[0].name
    path.parent.mkdir(parents=True, exist_ok=True)
    # it names variables, and holds no key
    replace_file(path, _written(models, judge).encode(), new_mode=SHARED)
    for model in models:
        print(_FOUND.filled(name=model.name, model=model.model or model.name, base=model.api_base))
    print(_WRITTEN.filled(path=path))


def _chosen(listing: Listing, environ: Mapping[str, str], *, asks: bool) -> list[AvailableModel]:
    """Return the models of one provider that go into the file. What keeps one out is printed."""
    provider = listing.provider
    where = f"{provider.name} ({listing.variable})"
    names = listing.models
    if listing.problem:
        usual = environ.get("AZURE_OPENAI_DEPLOYMENT", "") if provider.provider == "azure" else provider.usual
        if listing.is_refused or not listing.base or not usual:
            print(_LEFT_OUT.filled(where=where, problem=listing.problem))
            return []
        print(_NO_LIST.filled(where=where, problem=listing.problem, usual=usual))
        names = [usual]
    elif asks:
        names = _asked(where, names)
    else:
        names = names[:1]
    return [
        AvailableModel(
            provider.name if place == 0 else f"{provider.name}-{place + 1}",
            listing.base,
            provider.provider,
            name,
            listing.variable,
        )
        for place, name in enumerate(names)
    ]


def _asked(where: str, names: Sequence[str]) -> list[str]:
    """Return those of `names` that the user chooses, by numbers or names.

    An empty line means the first.
    """
    print(_MODELS.filled(where=where, count=len(names)))
    for number, name in enumerate(names[:_MOST_SHOWN], 1):
        print(f"  {number:>2}  {name}")
    while True:
        answer = input(str(_WHICH)).strip()
        if not answer:
            return list(names[:1])
        if answer == "0":
            return []
        wanted = [names[int(word) - 1] if word.isdigit() and 0 < int(word) <= len(names) else word for word in
                  filter(None, (part.strip() for part in answer.split(",")))]  # fmt: skip
        unknown = [name for name in wanted if name not in names]
        if wanted and not unknown:
            return list(dict.fromkeys(wanted))
        print(_NOT_LISTED.filled(names=", ".join(unknown) or answer))


def _asked_judge(models: Sequence[AvailableModel]) -> str:
    """Return the model that compares answers and writes the last one."""
    names = [model.name for model in models]
    while True:
        answer = input(str(_JUDGE.filled(names=", ".join(names), first=names[0]))).strip()
        if not answer or answer in names:
            return answer or names[0]


def _local(environ: Mapping[str, str]) -> Sequence[AvailableModel]:
    """Return the models of a running Ollama, which is asked for its list only.

    The proxies of the environment are not used: httpx cannot use those that speak SOCKS.
    """
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


def _distinct(entries: Sequence[AvailableModel]) -> list[AvailableModel]:
    """Return the same models under distinct names: `mistral` may be both local and hosted."""
    taken: set[str] = set()
    distinct: list[AvailableModel] = []
    for entry in entries:
        model, name = entry.model or entry.name, entry.name
        while name in taken:
            name += "-local" if entry.provider == "ollama" else "-hosted"
        taken.add(name)
        distinct.append(replace(entry, name=name, model=model))
    return distinct


def _written(models: Sequence[AvailableModel], judge: str) -> str:
    """Return the file: every model, and a workflow over the first of them that `judge` judges.

    Keys stay in the environment.
    """
    tables: list[dict[str, Any]] = []
    for model in models:
        entry: dict[str, Any] = {"name": model.name, "provider": model.provider, "api_base": model.api_base}
        if model.model and model.model != model.name:
            entry["model"] = model.model
        if model.key_variable:
            entry["api_key"] = f"${{{model.key_variable}}}"
        if model.provider != "ollama" and "temperature" in openai_traits(model.model or "", model.api_base).omit:
            entry["temperature"] = "none"
        tables.append(entry)
    workers: list[dict[str, Any]] = [{"ref": model.name} for model in models[:_MOST_WORKERS]]
    if len(workers) == 1:  # one model asked twice still beats one answer
        workers = [{"ref": models[0].name, "samples": 2}]
    selector = {"ref": judge, "passes": _PASSES}
    workflow = {"workers": workers, "selector": selector, "synthesizer": {"ref": judge}}
    head = (
        "# Written by `chorus init`. docs/CONFIGURATION.md explains every key; `chorus check` shows what it does.\n\n"
    )
    return head + tomli_w.dumps({"server": {"port": 11435}, "model": tables, "workflow-integration": workflow})
