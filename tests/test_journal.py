"""The journal: one order for every reader, late ones too."""

import anyio
import msgspec
import pytest

from chorus.errors import AnswerTooLong
from chorus.events import Delta, Event, RunFinished, RunStarted
from chorus.journal import MAX_STAGE_BYTES, Journal
from chorus.types import ToolPiece
from chorus.usage import Usage

STARTED = RunStarted("wf", "req", "m", "m", 0.0)
FINISHED = RunFinished(1.0, (), Usage())


def delta(text: str, choice: int | None = 0) -> Delta:
    return Delta(("0",), 0.5, text, choice=choice)


async def read(journal: Journal, after: int = 0) -> list[Event]:
    return [event async for batch in journal.read(after) for event in batch]


async def test_every_reader_sees_the_same_order_whenever_it_comes() -> None:
    journal = Journal()
    seen: list[list[Event]] = []

    async def follow() -> None:
        seen.append(await read(journal))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        journal.write(STARTED)
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        journal.write(delta("a"))
        journal.write(FINISHED)
    seen.append(await read(journal))
    assert seen == [[STARTED, delta("a"), FINISHED]] * 3
    assert await read(journal, after=1) == [delta("a"), FINISHED]


async def test_what_was_written_together_is_read_together() -> None:
    journal = Journal()
    for event in (STARTED, delta("a"), delta("b"), FINISHED):
        journal.write(event)
    assert [len(batch) async for batch in journal.read()] == [4]


async def test_a_wait_that_times_out_loses_nothing() -> None:
    journal = Journal()
    reader = journal.read()
    for _ in range(3):
        with anyio.move_on_after(0.001):
            await anext(reader)
    journal.write(STARTED)
    assert await anext(reader) == [STARTED]


@pytest.mark.requirement("W12")
def test_observers_see_all_but_the_deltas_at_once() -> None:
    seen: list[Event] = []
    journal = Journal([seen.append])
    journal.write(STARTED)
    journal.write(delta("a"))
    journal.write(FINISHED)
    assert seen == [STARTED, FINISHED]
    assert journal.first_output_at == 0.5
    assert journal.closed


def test_it_is_bounded_by_bytes() -> None:
    journal = Journal(max_bytes=1000)
    journal.write(delta("x" * 500, choice=None))
    with pytest.raises(AnswerTooLong):
        journal.write(delta("x" * 500, choice=None))
    assert len(journal.events) == 1
    journal.write(delta("the answer that goes out has room of its own"))
    with pytest.raises(AnswerTooLong):
        journal.write(delta("x" * 1000))


PIECES = {
    "text": Delta(("0",), 0.5, "x" * 600),
    "reasoning": Delta(("0",), 0.5, reasoning="x" * 600),
    "tool call": Delta(("0",), 0.5, tool_calls=(ToolPiece(0, arguments="x" * 600),)),
    "log-probabilities": Delta(("0",), 0.5, logprobs={"content": [{"token": "x" * 600}]}),
    "many small ones": Delta(("0",), 0.5, logprobs={"content": [[] for _ in range(5)]}),
}


@pytest.mark.parametrize("choice", [0, None], ids=["outer", "inner"])
@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_every_field_of_a_piece_counts(piece: Delta, choice: int | None) -> None:
    journal = Journal(max_bytes=1000)
    piece = msgspec.structs.replace(piece, choice=choice)
    journal.write(piece)
    with pytest.raises(AnswerTooLong):
        journal.write(piece)


def test_a_stage_that_never_stops_leaves_room_for_the_others() -> None:
    journal = Journal()
    endless, other = (Delta((name,), 0.5, "x" * (MAX_STAGE_BYTES // 4)) for name in "01")
    for _ in range(3):
        journal.write(endless)
    with pytest.raises(AnswerTooLong):
        journal.write(endless)
    for _ in range(3):
        journal.write(other)
    assert journal.events.count(other) == 3


def test_an_observer_that_raises_fails_nothing() -> None:
    seen: list[Event] = []

    def raising(event: Event) -> None:
        raise RuntimeError("broken")

    journal = Journal([raising, seen.append])
    journal.write(STARTED)
    journal.observe(raising)
    journal.write(FINISHED)
    assert seen == [STARTED, FINISHED]
    assert journal.closed
