"""The events of a run. The journal holds them in one order; dialects, trace, logs and metrics read
them (W12).

`at` is in seconds since the run started. `path` says where in the tree: `()` is the run itself,
`("analyzer",)`, `("0",)` (the first worker), `("selector",)` and `("synthesizer",)` are its stages,
`("2", "0")` is the first worker of the nested workflow that is the third worker. A single model is
a workflow of one: its only stage is `("0",)`. `("recall",)` stands before them; `("memorize",)`
comes after the run, and is in the kept trace only (M4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from chorus.errors import ChorusError
from chorus.types import Answer, Extra, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

Path = tuple[str, ...]
StageKind = Literal["recall", "analyzer", "worker", "selector", "synthesizer", "memorize"]
Status = Literal["ok", "failed", "timeout", "cancelled", "skipped", "fallback"]

FailureStatus = Literal["failed", "cancelled"]
UNHAPPY: Final[tuple[Status, ...]] = ("failed", "timeout", "fallback")
"""How a stage ends that did not do its work."""
ShortcutName = Literal["agreement", "decisive", "direct", "quorum", "settled", "single_candidate"]


class Fault(msgspec.Struct, frozen=True):
    """Why a stage failed, in words that a client may read."""

    code: str
    message: str


class RunStarted(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A run begins. `started_at` is wall-clock time, in seconds since 1970 (the only wall-clock
    time in a journal)."""

    workflow_id: str
    request_id: str
    model: str
    workflow: str
    started_at: float
    choices: int = 1
    side: str | None = None
    """Purpose of a side request (`title`, `tags`, ...) that a model answered for its workflow."""
    notes: tuple[str, ...] = ()
    """What happened to the request before the run, in sentences."""
    relay: str | None = None
    """What a request asks for that is relayed to one model, such as "/audio/speech".

    None where it is answered by a chat.
    """


class StageStarted(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A stage begins. `model` is None for a nested workflow and for a stage that calls none;
    `temperature_source` is one of W4's words."""

    path: Path
    at: float
    stage: StageKind
    name: str
    model: str | None = None
    temperature: float | None = None
    temperature_source: str | None = None
    is_group: bool = False
    """True of a nested workflow and of a choice: the stages below their path do their work."""
    index: int = 0
    """Place among a workflow's workers, with hedges and further layers; 0 for other stages."""
    layer: int = 1
    """Which layer of workers this worker belongs to, counted from 1 (`refine`)."""
    is_hedge: bool = False
    """Whether this worker backs another one that is late."""
    choice: int = 0
    """Index of the answer that this stage works for, where a client asked for several (`n`)."""


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a model's answer. `choice` is the index of the answer it belongs to when it is
    output for the client, None for everything that the client does not get."""

    path: Path
    at: float
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolPiece, ...] = ()
    logprobs: JSON = None
    choice: int | None = None
    extra: Extra | None = None
    is_progress: bool = False
    """Whether this is progress of Chorus itself, which never goes back to a model as reasoning."""


class StageFinished(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A stage is over. `answer` is its model's answer; `details` holds what only this kind of stage
    knows (the selector's choice, the analysis)."""

    path: Path
    at: float
    status: Status
    answer: Answer | None = None
    usage: Usage | None = None
    fault: Fault | None = None
    first_token_at: float | None = None
    attempts: tuple[str, ...] = ()
    """The instance of each attempt, in order; one that was tried twice stands here twice."""
    queue_secs: float = 0.0
    """Seconds that the stage's call waited for a slot (`max_parallel`, `max_concurrency`).

    They end when it is sent to the first instance; a call that was never sent has waited until its
    end.
    """
    details: Mapping[str, JSON] = {}
    attempted_at: tuple[float, ...] = ()
    """When each attempt was sent, in the order of `attempts`."""

    @property
    def instance_id(self) -> str | None:
        """The instance of the last attempt; None where there was none."""
        return self.attempts[-1] if self.attempts else None


class Shortcut(msgspec.Struct, frozen=True):
    """Work that a run left out (W7). `saved_calls` are upstream calls that were not made, or cut
    short."""

    name: ShortcutName
    path: Path = ()
    saved_calls: int = 0


PickReason = Literal["draw", "exploration", "cheapest", "lower_draw", "budget"]
"""Why a worker was picked (the first three), or was not."""


class Pick(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a learned route decided of one worker, or of the `members` that are samples of one. Its
    success rate is believed to be Beta(`alpha`, `beta`), of which `draw` was drawn."""

    worker: str
    members: tuple[str, ...]
    alpha: float
    beta: float
    draw: float
    is_picked: bool
    reason: PickReason


class WorkersPicked(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A learned route has picked workers of the workflow at `path` for a request of `task_type`.

    `note` is a sentence on what was known.
    """

    path: Path
    at: float
    task_type: str
    picks: tuple[Pick, ...]
    note: str = ""


class RunFinished(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """The run has its answers, one per choice. `usage` is summed over all `calls` made (W11)."""

    at: float
    answers: tuple[Answer, ...]
    usage: Usage
    first_token_at: float | None = None
    """When the first piece of the final answer was written."""
    shortcuts: tuple[Shortcut, ...] = ()
    calls: int = 1
    reports_total: bool = False
    """Whether a client's `usage` is the sum over all calls (`[workflow] usage = "total"`)."""

    @property
    def reported(self) -> Usage:
        """The usage that a client reads: the length of its conversation, and of its answers (W11).

        Agents compact their conversation by it; the sum over all calls would make them do so after
        every turn.
        """
        if self.reports_total or not self.answers:
            return self.usage
        first, *others = (answer.usage for answer in self.answers)
        return Usage(
            first.prompt_tokens,
            first.completion_tokens + sum(usage.completion_tokens for usage in others),
            first.cached_tokens,
            first.reasoning_tokens + sum(usage.reasoning_tokens for usage in others),
            self.usage.cost,
            self.usage.estimated,
            first.cache_write_tokens,
        )

    @property
    def ensemble(self) -> dict[str, JSON] | None:
        """The sum over all calls, to stand beside `usage`; None where one call was made."""
        if self.calls <= 1:
            return None
        total: dict[str, JSON] = {
            "calls": self.calls,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
        }
        return total if self.usage.cost is None else {**total, "cost": self.usage.cost}


class RunFailed(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """The run gave no (whole) answer. `status` is `cancelled` when the client left. `error` comes
    without its traceback: its frames would keep the whole request alive for as long as the trace is
    kept."""

    at: float
    error: ChorusError
    status: FailureStatus = "failed"
    usage: Usage = Usage()


Event = RunStarted | StageStarted | Delta | StageFinished | WorkersPicked | RunFinished | RunFailed
