"""`chorus models`: what can be asked."""

from __future__ import annotations

from typing import Final

from chorus.cli.common import ConfigOption
from chorus.config import ModelConfig
from chorus.llm.transport.clients import Clients
from chorus.serving.configuration import read_config
from chorus.snapshot import Snapshot, compose
from chorus.texts import Text, counted, padded
from chorus.workflow.plan import Flow, total_calls

_WORKFLOW: Final = Text("workflow", "工作流")
_MODEL: Final = Text("model", "模型")
_DISCOVERED: Final = Text("found by {source}", "由 {source} 发现")
_HERE: Final = Text("in this process", "在本进程中")
EXAMPLE = "chorus models --config config-example.toml"


def run(config: ConfigOption = None) -> None:
    """List the models and workflows of a configuration."""
    loaded = read_config(config)
    rows = []
    snapshot = compose(loaded, Clients())
    addresses = {entry.name: _where(entry, snapshot) for entry in loaded.models}
    for plan in snapshot.plans.values():
        if isinstance(plan.root, Flow):
            rows.append((plan.name, str(_WORKFLOW), total_calls(plan.root), plan.description))
        else:
            rows.append((plan.name, str(_MODEL), 1, addresses[plan.name]))
    width = max(len(row[0]) for row in rows)
    for name, kind, calls, what in rows:
        print(f"{name:<{width}}  {padded(kind, 8)}  {counted(calls, 'call', '次调用')!s:>9}  {what}".rstrip())


def _where(entry: ModelConfig, snapshot: Snapshot) -> str:
    """Return where a model is: its addresses, or who knows them."""
    discovered = snapshot.models[entry.name].discovered
    if discovered is not None:
        return str(_DISCOVERED.filled(source=discovered.source.description))
    return ", ".join(replica.api_base for replica in entry.listed) or entry.api_base or str(_HERE)
