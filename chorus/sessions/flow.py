"""What happens to a request of a user: START → recall → prompt → model → END (M4).

Each step is a function from one state to the next. `model` is the run of the plan itself: the
engine calls the steps before it (`Job.prepare`). `memorize` comes after the end (`memorizer.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from chorus.errors import StorageUnavailable
from chorus.events import Event, StageFinished
from chorus.sessions.note_sizes import NoteSizes
from chorus.sessions.prompt import notes_text, with_text
from chorus.storage.base import Profiles
from chorus.types import ChatRequest
from chorus.workflow.run import Run

_PATH: Final = ("recall",)
_WARNING: Final = "The notes on the user could not be read: the answer does without them."


@dataclass(frozen=True, slots=True)
class State:
    """What the steps share. `user` belongs to `owner`."""

    run: Run
    profiles: Profiles
    owner: str
    user: str
    requests: Sequence[ChatRequest]
    limit_secs: float
    """How long the request waits for the notes: a store in the same building takes milliseconds."""
    notes: Mapping[str, str] = field(default_factory=dict)
    sizes: NoteSizes = field(default_factory=NoteSizes)


Step = Callable[[State], Awaitable[State]]


async def recall(state: State) -> State:
    """Read the notes on the user. While the store is away there are none, and the stage has
    failed."""
    try:
        with state.run.stage(_PATH, "recall", "memory") as stage:
            with anyio.move_on_after(state.limit_secs) as scope:
                profile = await state.profiles.get(state.owner, state.user)
            if scope.cancelled_caught:
                raise StorageUnavailable(f"The store did not answer within {state.limit_secs:g} s")
            notes = profile.notes if profile is not None else {}
            stage.finish(details={"notes": len(notes)})
            return replace(state, notes=notes)
    except StorageUnavailable:
        return state


async def prompt(state: State) -> State:
    """Insert the notes into every request."""
    text = notes_text(state.notes) if state.notes else ""
    state.sizes.keep(state.owner, state.user, text)
    if not text:
        return state
    return replace(state, requests=[with_text(request, text) for request in state.requests])


STEPS: Final[tuple[Step, ...]] = (recall, prompt)
"""The steps before `model`, in their order."""


def preparing(
    profiles: Profiles,
    owner: str,
    user: str,
    requests: Sequence[ChatRequest],
    limit_secs: float,
    sizes: NoteSizes,
) -> Callable[[Run], Awaitable[Sequence[ChatRequest]]]:
    """Return what a run calls to get `requests` with the notes on `user`."""

    async def prepare(run: Run) -> Sequence[ChatRequest]:
        state = State(run, profiles, owner, user, requests, limit_secs, sizes=sizes)
        for step in STEPS:
            state = await step(state)
        return state.requests

    return prepare


def recall_warning(events: Sequence[Event]) -> str | None:
    """Return a sentence for the client where the run with these `events` could not read the
    notes."""
    for event in events[:3]:  # the run, and the two of the stage
        if isinstance(event, StageFinished) and event.path == _PATH and event.fault is not None:
            return _WARNING
    return None
