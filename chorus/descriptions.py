"""What the models of a server can do, from the configuration or from their upstreams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from chorus.llm.pool.capabilities import Capabilities, Followed
from chorus.llm.providers.model_info import NOTHING, ModelInfo, settled
from chorus.llm.transport.clients import Clients
from chorus.reached import address_of
from chorus.snapshot import Snapshot
from chorus.tasks import ServerTasks
from chorus.workflow.engine import Plan
from chorus.workflow.plan import Flow, refs

_CAPABILITIES = ("tools", "vision", "thinking", "embedding")
_TAKE_TOOLS = frozenset({"openai", "responses", "azure", "anthropic"})
"""The providers whose models take tools, unless it is known that one does not."""


class Descriptions:
    """The descriptions of the models of the snapshot that is served. `follow` comes first."""

    def __init__(self, clients: Clients, tasks: ServerTasks) -> None:
        self._capabilities = Capabilities(clients)
        self._tasks = tasks
        self._snapshot: Snapshot

    def follow(self, snapshot: Snapshot) -> None:
        """Describe the models of `snapshot` from now on."""
        self._snapshot = snapshot
        self._capabilities.follow(_undescribed(snapshot))

    async def refresh(self, plans: Iterable[Plan]) -> None:
        """Find out what the models of `plans` can do, where it is not known yet. It takes a second
        at most, and no time where all upstreams have been asked before."""
        await self._capabilities.refresh({ref for plan in plans for ref in refs(plan.root)}, self._tasks)

    def info(self, model: str, *, assumes: bool = False) -> ModelInfo:
        """Return what a configured model can do. `assumes`: one behind an OpenAI-compatible address
        takes tools, unless it is known that it does not. Nothing is known of a model that a reload
        has removed while a list with it is made.
        """
        entry = self._snapshot.entries.get(model)
        if entry is None:
            return NOTHING
        return settled(
            self._capabilities.info(model),
            entry.capabilities,
            entry.context_window,
            assumes_tools=assumes and entry.provider in _TAKE_TOOLS,
        )

    def capabilities(self, plan: Plan, *, assumes: bool = True) -> list[str]:
        """Return what a plan can do, in Ollama's words.

        A workflow can what all of its workers can.
        """
        workers = plan.root.workers if isinstance(plan.root, Flow) else (plan.root,)
        infos = [self.info(ref, assumes=assumes) for worker in workers for ref in refs(worker)]
        shared = frozenset.intersection(*(info.has for info in infos))
        if "embedding" in shared and all("completion" in info.lacks for info in infos):
            return ["embedding"]
        return ["completion", *(name for name in _CAPABILITIES if name in shared)]

    async def window_for(self, plan: Plan) -> int:
        """Return what `context_window` does, for a request, whose answer waits for it: nothing is
        asked where the configuration says it."""
        entries = [self._snapshot.entries.get(ref) for ref in refs(plan.root)]
        windows = [entry.context_window for entry in entries if entry is not None and entry.context_window]
        if len(windows) == len(entries):
            return min(windows)
        await self.refresh([plan])
        return self.context_window(plan)

    def context_window(self, plan: Plan) -> int:
        """Return the smallest context window of the models involved; 0 where none is known."""
        windows = [self.info(ref).context_window for ref in refs(plan.root)]
        return min((window for window in windows if window is not None), default=0)


def _undescribed(snapshot: Snapshot) -> Iterator[Followed]:
    """Return the models whose configuration leaves open what they can do."""
    for name, entry in snapshot.entries.items():
        if entry.capabilities is None or entry.context_window is None:
            pool = snapshot.models[name].pool
            breakers = tuple(replica.breaker for replica in pool.replicas)
            yield Followed(replace(address_of(entry), replicas=pool.addresses), breakers)
