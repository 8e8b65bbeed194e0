"""`chorus check`: every error of a configuration, or what it does and what that takes (C6, C8)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

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
from chorus.texts import Text, counted
from chorus.workflow.estimate import ANSWER_TOKENS, PROMPT_TOKENS, Estimate, estimate
from chorus.workflow.plan import Flow, drawn

_OK: Final = Text("{source}: ok, {models}", "{source}：正确，{models}")
_FROM: Final = Text("  {place} from {variable}", "  {place} 来自 {variable}")
_INSTANCES: Final = Text("{source}: {count}{places}", "{source}：{count}{places}")
_PLACES: Final = Text(" ({places}{more})", "（{places}{more}）")
_MORE: Final = Text(" and {count} more", "，另有 {count} 个")
_NO_ANSWER: Final = Text("{source}: no answer; {problem}", "{source}：没有应答；{problem}")
_PROXY: Final = Text("  {name}: {base} through {proxy} ({source})", "  {name}：{base} 经由 {proxy}（{source}）")
_OWN: Final = Text("its `proxy`", "其 `proxy`")
_ENVIRONMENT: Final = Text("the environment", "环境变量")
_FIGURES: Final = Text("  {calls}; {time}", "  {calls}；{time}")
_CALLS: Final = Text("at most {count} calls", "最多 {count} 次调用")
_EXTRA: Final = Text("{count} of them only where a model is late or fails", "其中 {count} 次仅在模型迟缓或失败时发生")
_AT_LEAST: Final = Text("at least {count} with its shortcuts", "走捷径时至少 {count} 次")
_UNLIMITED: Final = Text("no limit on the time to the first word", "首字时间没有上限")
_AT_WORST: Final = Text("at worst {secs:,.10g} s to the first word", "最坏 {secs:,.10g} 秒出首字")
_ASSUMED: Final = Text(
    "{prompt:,} prompt and {answer:,} answer tokens each", "每次 {prompt:,} 个提示 token 和 {answer:,} 个答案 token"
)
_COST: Final = Text("at most about {cost} for {assumed}{more}", "按{assumed}，最多约 {cost}{more}")
_UNPRICED: Final = Text("no price known: {names}", "价格未知：{names}")
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
    """Check a configuration; print its workflows as trees, with the calls, time and cost of one
    request."""
    if not live and (as_json or write):
        raise typer.BadParameter("--json and --write belong to --live")
    loaded = read_config(path or config)
    if live:
        from chorus.cli.check_live import run_live  # nobody else needs it

        raise typer.Exit(run_live(loaded, secs=live_secs, concurrency=concurrency, as_json=as_json, write=write))
    clients = Clients()
    snapshot = compose(loaded, clients)
    print(_OK.filled(source=loaded.source, models=counted(len(loaded.models), "model", "个模型")))
    for place, variable in loaded.overrides:
        print(_FROM.filled(place=place, variable=variable))
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
            print("\n" + "\n".join(map(str, drawn(plan.root))))
            expected = estimate(
                plan.root,
                snapshot.models,
                total=plan.total,
                max_parallel=plan.max_parallel,
                prompt_tokens=prompt_tokens,
                answer_tokens=answer_tokens,
            )
            print(_FIGURES.filled(calls=_calls(expected), time=_time(expected)))
            print(f"  {_cost(expected, _ASSUMED.filled(prompt=prompt_tokens, answer=answer_tokens))}")


def _found(discovered: Discovered) -> Text:
    """Return what discovery finds at this moment.

    A source that is away is no fault of the configuration.
    """
    source = discovered.source
    try:
        instances = anyio.run(source.look)
    except SourceError as problem:
        return _NO_ANSWER.filled(source=source.description, problem=problem)
    places = ", ".join(f"{instance.host}:{instance.port}" for instance in instances[:_SHOWN])
    more = _MORE.filled(count=len(instances) - _SHOWN) if len(instances) > _SHOWN else ""
    shown = _PLACES.filled(places=places, more=more) if instances else ""
    count = counted(len(instances), "instance", "个实例")
    return _INSTANCES.filled(source=source.description, count=count, places=shown)


def _proxies(entry: ModelConfig, clients: Clients) -> list[Text]:
    """Return a line for each address of a model that is reached through a proxy."""
    own = clients.through(entry.proxy.get_secret_value() if entry.proxy is not None else None)
    bases = [replica.api_base for replica in entry.listed] or ([entry.api_base] if entry.api_base else [])
    proxies = [(base, own.proxy_for(URL(base))) for base in bases if entry.provider != "demo"]
    source = _OWN if entry.proxy is not None else _ENVIRONMENT
    return [
        _PROXY.filled(name=entry.name, base=base, proxy=shown(proxy), source=source)
        for base, proxy in proxies
        if proxy is not None
    ]


def _calls(expected: Estimate) -> Text:
    notes = []
    if expected.extra_calls:
        notes.append(_EXTRA.filled(count=expected.extra_calls))
    if expected.at_least_calls < expected.calls:
        notes.append(_AT_LEAST.filled(count=expected.at_least_calls))
    calls = _CALLS.filled(count=expected.calls + expected.extra_calls)
    if not notes:
        return calls
    english, chinese = "; ".join(note.en for note in notes), "；".join(note.zh for note in notes)
    return Text(f"{calls.en} ({english})", f"{calls.zh}（{chinese}）")


def _time(expected: Estimate) -> Text:
    return _UNLIMITED if expected.worst_secs is None else _AT_WORST.filled(secs=expected.worst_secs)


def _cost(expected: Estimate, assumed: Text) -> Text:
    missing = _UNPRICED.filled(names=", ".join(expected.unpriced))
    if all(stage.cost is None for stage in expected.stages):
        return missing
    more: Text | str = Text(f" ({missing.en})", f"（{missing.zh}）") if expected.unpriced else ""
    return _COST.filled(cost=_dollars(expected.partial_cost), assumed=assumed, more=more)


def _dollars(amount: float) -> str:
    if 0 < amount < 0.0001:
        return "$0.0001"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"
