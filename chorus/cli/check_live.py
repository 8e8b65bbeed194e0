"""`chorus check --live`: ask the models, print what works, or why it does not, and write it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.request import getproxies

import anyio

from chorus.cli.live_check import CAPABILITIES, EMBEDDINGS, LiveReport, check_all
from chorus.config import Config
from chorus.config.load import read_text
from chorus.config.secrets import secret_values
from chorus.config.toml_edit import with_model_array
from chorus.errors import ConfigError, Problem
from chorus.files import replace_file
from chorus.llm.transport.clients import Clients
from chorus.redaction import KNOWN
from chorus.snapshot import Snapshot, compose
from chorus.telemetry import log
from chorus.texts import Text, aligned

_SHOWN: Final = {
    "yes": Text("yes", "是"),
    "no": Text("no", "否"),
    "failed": Text("failed", "失败"),
    "skipped": Text("-", "-"),
}
_MODEL: Final = Text("model", "模型")
_COST: Final = Text("cost", "费用")
_COLUMNS: Final = {
    "chat": Text("chat", "对话"),
    "stream": Text("stream", "流式"),
    "tools": Text("tools", "工具"),
    "schema": Text("schema", "JSON 模式"),
    "images": Text("images", "图片"),
    EMBEDDINGS: Text(EMBEDDINGS, "嵌入"),
}
_REASON: Final = Text("{model}, {name}: {reason}", "{model}，{name}：{reason}")
_UNKNOWN: Final = Text("not known", "未知")
_WRITTEN: Final = Text("{path}: capabilities of {name} are written", "{path}：已写入 {name} 的能力")
_ASKED: Final = Text("{model}: asked in {secs:.1f} s", "{model}：用时 {secs:.1f} 秒")


def run_live(config: Config, *, secs: float, concurrency: int, as_json: bool, write: bool) -> int:
    """Ask every model of `config`, print what works, and return the exit code.

    With `write` it also goes into the file. The exit code is 1 where a model does not answer.

    Raises:
        ConfigError: there is no file to write into.
    """
    path = Path(config.source)
    if write and not path.is_file():
        raise ConfigError([Problem("--write", "there is no configuration file: the environment sets its keys")])
    log.configure("error")
    KNOWN.add(secret_values(config, getproxies()))
    reports, snapshot = anyio.run(_asked, config, secs, concurrency)
    written = _written(path, reports, snapshot) if write else []
    if as_json:
        print(json.dumps({"models": [report.as_json() for report in reports], "written": written}, ensure_ascii=False))
    else:
        print("\n".join(lines(reports)))
        for name in written:
            print(_WRITTEN.filled(path=path, name=name))
    return 0 if all(report.works for report in reports) else 1


async def _asked(config: Config, secs: float, concurrency: int) -> tuple[list[LiveReport], Snapshot]:
    clients = Clients()

    def done(report: LiveReport) -> None:
        if sys.stderr.isatty():
            print(_ASKED.filled(model=report.model, secs=report.secs), file=sys.stderr)

    try:
        snapshot = compose(config, clients)
        models = list(snapshot.models.values())
        return await check_all(models, secs=secs, concurrency=concurrency, done=done), snapshot
    finally:
        await clients.aclose()


def _written(path: Path, reports: Sequence[LiveReport], snapshot: Snapshot) -> list[str]:
    """Write what was found into the file; returns the names of the models whose entry was changed.
    One of which something failed keeps what is written of it."""
    text = before = read_text(path)
    names = []
    for report in reports:
        configured = snapshot.entries[report.model].capabilities
        capabilities = report.capabilities(configured or ())
        if capabilities is None or (configured is not None and set(capabilities) == set(configured)):
            continue
        try:
            text = with_model_array(text, report.model, "capabilities", capabilities)
        except ConfigError as problem:
            print(f"warning: {problem.message}", file=sys.stderr)
            continue
        names.append(report.model)
    if text != before:
        replace_file(path, text.encode())
    return names


def lines(reports: Sequence[LiveReport]) -> list[str]:
    """Return the table, a line for each thing that does not work, and the sum of what was used."""
    columns = [*CAPABILITIES, *([EMBEDDINGS] if any(EMBEDDINGS in report.outcomes for report in reports) else [])]
    rows = [[str(_MODEL), *(str(_COLUMNS[name]) for name in columns), "tokens", str(_COST)]]
    for report in reports:
        states = [str(_SHOWN[report.outcomes[name].state]) if name in report.outcomes else "-" for name in columns]
        rows.append([report.model, *states, f"{report.usage.total_tokens:,}", _cost(report)])
    reasons = [
        str(_REASON.filled(model=report.model, name=_COLUMNS[name], reason=outcome.reason))
        for report in reports
        for name, outcome in report.outcomes.items()
        if outcome.reason
    ]
    return [*aligned(rows), *([""] if reasons else []), *reasons]


def _cost(report: LiveReport) -> str:
    cost = report.usage.cost
    if cost is None:
        return str(_UNKNOWN) if report.usage.total_tokens else "-"
    return f"${cost:.6f}".rstrip("0").rstrip(".")
