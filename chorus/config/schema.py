"""What a configuration may say: the tables, and every default once (C3 to C9)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from chorus.config.limits import LimitsConfig, StorageConfig
from chorus.config.memory import MemoryConfig
from chorus.config.models import ModelConfig
from chorus.config.table import Array, Count, Seconds, Table
from chorus.config.timeouts import HostPattern, PassThroughTimeouts, TimeoutSettings, resolve
from chorus.config.worker import WorkerConfig
from chorus.types import Framing

TABLES = (
    "server",
    "model",
    "timeouts",
    "workflow",
    "workflow-integration",
    "workflows",
    "limits",
    "storage",
    "memory",
    "trace",
    "worker",
)
"""The names that may stand at the top of a file."""

TREE_KEYS = (
    "analyzer",
    "workers",
    "selector",
    "synthesizer",
    "quorum",
    "agreement",
    "hedge",
    "difficulty",
    "refine",
    "decisive",
)
"""The parts of a workflow, as native tables or as keys of the root of its JSON (C5)."""

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s@?#]+|null")
_HOST = re.compile(r"[^/\s@?#]+")


def _check_origin(origin: str) -> str:
    # browsers send none, so an origin with a slash at its end would never match
    trimmed = origin.rstrip("/")
    if not _ORIGIN.fullmatch(trimmed):
        raise ValueError('expected an origin such as "https://app.example.com", or "*"')
    return trimmed


def _check_host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError('expected a host name such as "chorus.lan", without "https://"')
    return host


Origin = Annotated[str, AfterValidator(_check_origin)]
Host = Annotated[str, AfterValidator(_check_host)]


class ServerConfig(Table):
    """`[server]`: where Chorus listens and what it lets in (C3, S1, S3)."""

    later_keys: ClassVar[frozenset[str]] = frozenset({"api_keys", "workers"})

    host: str = Field("127.0.0.1", min_length=1, description='an address to listen on, such as "127.0.0.1"')
    port: int = Field(11435, ge=1, le=65535, description="a port, a whole number from 1 to 65535")
    cors_origins: Annotated[tuple[Origin, ...], Array] = Field(
        (), description='a list of origins such as "https://app.example.com" or "https://*.example.com", or "*"'
    )
    allowed_hosts: Annotated[tuple[Host, ...], Array] = Field(
        (), description='a list of names in the Host header, such as "chorus.lan"'
    )
    max_body_bytes: Count = Field(50 * 1024 * 1024, description="a number of bytes, a whole number from 1")
    """50 MiB, as OpenAI has it: a request may carry several images.

    Decoding the worst of them takes 0.3 s.
    """
    write_timeout_secs: Seconds = Field(60, description="a number of seconds above 0")
    """How long a client may read nothing of a waiting answer; then its connection is aborted."""
    require_auth: bool = Field(False, description="true or false")
    """Whether every client has to show a key (S1)."""
    keys_file: str | None = Field(None, min_length=1, description="a path")
    """Where `chorus keys` keeps them; None: in the user's data folder."""
    max_concurrency: Count | None = Field(None, description="a whole number from 1")
    """Requests that are answered at a time; others wait by priority (K2)."""
    max_waiting: Count = Field(1000, description="a whole number from 1")
    max_wait_secs: Seconds | None = Field(None, description="a number of seconds above 0")
    batch_concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(8, description="a whole number from 1 to 1000")
    """Lines of batches that are answered at a time, in each process (M7)."""
    lame_duck_secs: Annotated[float, Field(ge=0, le=600)] = Field(0, description="a number of seconds from 0 to 600")
    """Seconds for which a stopping server still takes requests, with `/ready` at 503 (A8)."""
    drain_timeout_secs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        30, description="a number of seconds from 0"
    )
    watch: bool = Field(False, description="true or false")
    """Whether a file that changes is read again by itself (C12)."""
    heartbeat_secs: Seconds = Field(10, description="a number of seconds above 0")
    """Quiet seconds before the first SSE heartbeat, and between heartbeats (W8)."""
    ollama_stream: Framing = Field("ndjson", description='"ndjson" or "sse"')
    ui: bool = Field(True, description="true or false")
    """Whether the page is served at `/ui/` (O4)."""
    evaluations: str = Field("evaluation", min_length=1, description="a path")
    """The folder whose outcomes of `chorus tune` the page shows: what `chorus eval` writes to."""


class WorkflowSettings(Table):
    """`[workflow]`: limits and times of every workflow (C6, C7, W3)."""

    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings, description="a table of timeouts")
    domains: dict[HostPattern, TimeoutSettings] = Field(
        default_factory=dict,
        description='tables of timeouts named by host: [workflow.domains."api.example.com"]',
    )
    max_parallel: Count | None = Field(None, description="a whole number from 1")
    max_leaf_calls: Count = Field(256, description="a whole number from 1")
    usage: Literal["answer", "total"] = Field("answer", description='"answer" or "total"')
    side_requests: Literal["workflow", "model"] = Field("workflow", description='"workflow" or "model"')
    """Who answers the titles, tags and follow-up questions that chat applications ask for."""
    side_model: str | None = Field(None, min_length=1, description="the name of a [[model]]")
    """None: the workflow's first worker."""

    def timeouts_for(self, api_base: str) -> TimeoutSettings:
        """Return the times for calls to `api_base`, with the overrides of its host (C7)."""
        return resolve(self.timeouts, self.domains, api_base)


class BudgetConfig(Table):
    """`budget`: what the calls of one request may use together (W11).

    No call is begun when it is spent.
    """

    max_total_tokens: Count | None = Field(None, description="a number of tokens, a whole number from 1")
    max_cost: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="an amount in the currency of the prices, a number above 0"
    )


class LearningConfig(Table):
    """`learning`: how `route = "learned"` picks the workers of a request."""

    workers: Count = Field(2, description="a whole number from 1")
    """How many workers answer a request."""
    explore: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="a number from 0 to 1")
    """How likely one of them is picked evenly among all."""
    half_life_days: Annotated[float, Field(ge=0.01, le=365)] = Field(
        14.0, description="a number of days from 0.01 to 365"
    )
    """An outcome counts half after so many days."""


class WorkflowConfig(Table):
    """`[workflow-integration]` or `[workflows.NAME]` (C5, C9).

    `workflow/plan.py` judges the tree.
    """

    tree: Mapping[str, object] = Field(description="a workflow")
    """The root node as plain data, whether it was written as JSON or as native tables."""
    tree_place: str = Field("", description="a place")
    """Where the tree stands, for error messages: `[workflow-integration] json`."""
    nested_worker_depth: Count = Field(1, description="a whole number from 1")
    description: str | None = Field(None, description="a string")
    total_timeout_secs: Seconds | None = Field(None, description="a number of seconds above 0")
    """The deadline of a whole request; `[workflow.timeouts]` has one for all workflows (W11)."""
    budget: BudgetConfig | None = Field(None, description="a table {max_total_tokens, max_cost}")
    progress: bool = Field(False, description="true or false")
    """Whether streams show the stages, as reasoning, until the answer begins (W8)."""
    seed: int | None = Field(None, description="a whole number")
    """Seeds the order in which candidates are shown to the selector (W6).

    None: a new order each time.
    """
    route: Literal["all", "learned"] = Field("all", description='"all" or "learned"')
    """Whether all workers answer, or those that a learned route picks."""
    learning: LearningConfig = Field(
        default_factory=LearningConfig, description="a table {workers, explore, half_life_days}"
    )


class TraceConfig(Table):
    """`[trace]`: the records of finished workflows (W9)."""

    keep: int = Field(1000, ge=0, description="a whole number from 0")
    """How many of the last runs can be read later; 0 keeps none."""


class Config(Table):
    """A whole configuration: an immutable snapshot (C12)."""

    server: ServerConfig = Field(default_factory=ServerConfig)
    models: tuple[ModelConfig, ...] = ()
    timeouts: PassThroughTimeouts = Field(default_factory=PassThroughTimeouts)
    workflow: WorkflowSettings = Field(default_factory=WorkflowSettings)
    integration: WorkflowConfig | None = None
    """The workflow `chorus`."""
    workflows: dict[str, WorkflowConfig] = Field(default_factory=dict)
    """The workflows `chorus/NAME`, by NAME."""
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    storage: StorageConfig = Field(default_factory=StorageConfig)
    memory: MemoryConfig = Field(default_factory=MemoryConfig)
    trace: TraceConfig = Field(default_factory=TraceConfig)
    worker: WorkerConfig = Field(default_factory=WorkerConfig)
    """What `chorus worker` reads; a gateway only checks it."""
    source: str = ""
    """The file it came from, for people to read; `environment.SOURCE` where there is none."""
    warnings: tuple[str, ...] = ()
    """What is allowed and probably not meant, one sentence each."""
    overrides: tuple[tuple[str, str], ...] = ()
    """What the environment says in place of the file: places, each with its variable."""
    migrated: tuple[str, ...] = ()
    """What was changed in memory because the file has the old form (C10).

    Empty for the new form.
    """
