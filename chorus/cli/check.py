"""`chorus check`: every error of a configuration, or what it does and what that takes (C6, C8)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
import typer
from yarl import URL

from chorus.cli.common import ConfigOption
from chorus.config import ModelConfig
from chorus.discovered import Discovered
from chorus.discovery.source import SourceError
from chorus.llm.transport.clients import Clients
from chorus.llm.transport.proxies import shown
from chorus.serving.configuration import read_config, warn
from chorus.serving.unpriced import key_file, unpriced_warning
from chorus.snapshot import compose
from chorus.workflow.estimate import ANSWER_TOKENS, PROMPT_TOKENS, Estimate, estimate
from chorus.workflow.plan import Flow, drawn

EXAMPLE = "chorus check config-example.toml"

_SHOWN = 5
"""Instances that are named of each model."""
_MOST_TOKENS = 1_000_000_000


def run(
    path: Annotated[Path | None, typer.Argument(help="The file; the same as --config.")] = None,
    config: ConfigOption = None,
    prompt_tokens: Annotated[
        int, typer.Option(min=0, max=_MOST_TOKENS, help="Tokens of a request, for the cost.")
    ] = PROMPT_TOKENS,
    answer_tokens: Annotated[
        int, typer.Option(min=0, max=_MOST_TOKENS, help="Tokens of each answer, for the cost.")
    ] = ANSWER_TOKENS,
    live: Annotated[
        bool, typer.Option("--live", help="Send each model one tiny request for each capability, and say what works.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --live: print one JSON object and nothing else.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="With --live: write `capabilities` into the file, and keep all the rest.")
    ] = False,
    live_secs: Annotated[float, typer.Option(min=0.1, max=3600, help="With --live: seconds for each request.")] = 60,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="With --live: models that are asked at a time.")] = 4,
) -> None:
    """Check a configuration; print its workflows as trees and the calls, the time and the money
    that one request takes."""
    if not live and (as_json or write):
        raise typer.BadParameter("--json and --write belong to --live")
    loaded = read_config(path or config)
    if live:
        from chorus.cli.check_live import run_live  # nobody else needs it

        raise typer.Exit(run_live(loaded, secs=live_secs, concurrency=concurrency, as_json=as_json, write=write))
    clients = Clients()
    snapshot = compose(loaded, clients)
    print(f"{loaded.source}: ok, {len(loaded.models)} models")
    for place, variable in loaded.overrides:
        print(f"  {place} from {variable}")
    for entry in loaded.models:
        for line in _proxies(entry, clients):
            print(line)
    for model in snapshot.models.values():
        if model.discovered is not None:
            print(f"  {model.name}: {_found(model.discovered)}")
    if (sentence := unpriced_warning(snapshot, key_file(loaded).read())) is not None:
        warn(sentence)
    for plan in snapshot.plans.values():
        if isinstance(plan.root, Flow):
            print("\n" + "\n".join(drawn(plan.root)))
            expected = estimate(
                plan.root,
                snapshot.models,
                total=plan.total,
                max_parallel=plan.max_parallel,
                prompt_tokens=prompt_tokens,
                answer_tokens=answer_tokens,
            )
            print(f"  {_calls(expected)}; {_time(expected)}")
            print(f"  {_cost(expected, f'{prompt_tokens:,} prompt and {answer_tokens:,} answer tokens each')}")


def _found(discovered: Discovered) -> str:
    """What discovery finds at this moment.

    A source that is away is no fault of the configuration.
    """
    source = discovered.source
    try:
        instances = anyio.run(source.look)
    except SourceError as problem:
        return f"{source.description}: no answer; {problem}"
    places = ", ".join(f"{each.host}:{each.port}" for each in instances[:_SHOWN])
    rest = f" and {len(instances) - _SHOWN} more" if len(instances) > _SHOWN else ""
    count = "1 instance" if len(instances) == 1 else f"{len(instances)} instances"
    return f"{source.description}: {count}{f' ({places}{rest})' if instances else ''}"


def _proxies(entry: ModelConfig, clients: Clients) -> list[str]:
    """A line for each address of a model that is reached through a proxy."""
    own = clients.through(entry.proxy.get_secret_value() if entry.proxy is not None else None)
    bases = [replica.api_base for replica in entry.listed] or ([entry.api_base] if entry.api_base else [])
    proxies = [(base, own.proxy_for(URL(base))) for base in bases if entry.provider != "demo"]
    source = "its `proxy`" if entry.proxy is not None else "the environment"
    return [f"  {entry.name}: {base} through {shown(proxy)} ({source})" for base, proxy in proxies if proxy is not None]


def _calls(expected: Estimate) -> str:
    notes = []
    if expected.extra_calls:
        notes.append(f"{expected.extra_calls} of them only where a model is late or fails")
    if expected.at_least_calls < expected.calls:
        notes.append(f"at least {expected.at_least_calls} with its shortcuts")
    return f"at most {expected.calls + expected.extra_calls} calls" + (f" ({'; '.join(notes)})" if notes else "")


def _time(expected: Estimate) -> str:
    if expected.worst_secs is None:
        return "no limit on the time to the first word"
    return f"at worst {expected.worst_secs:,.10g} s to the first word"


def _cost(expected: Estimate, assumed: str) -> str:
    missing = f"no price known: {', '.join(expected.unpriced)}"
    if all(stage.cost is None for stage in expected.stages):
        return missing
    return f"at most about {_dollars(expected.partial_cost)} for {assumed}" + (
        f" ({missing})" if expected.unpriced else ""
    )


def _dollars(amount: float) -> str:
    if 0 < amount < 0.0001:
        return "$0.0001"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"
