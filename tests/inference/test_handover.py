"""From a thread to the event loop: in order, bounded, and closed from either side (I2)."""

from __future__ import annotations

import asyncio
import threading

import pytest

from chorus.inference.engines.handover import Handover

pytestmark = pytest.mark.requirement("I2")


async def test_pieces_come_in_order_and_end() -> None:
    handover = Handover[int](room=4)

    def produce() -> None:
        for number in range(1000):
            assert handover.put(number)
        handover.end()

    thread = threading.Thread(target=produce)
    thread.start()
    assert [item async for item in handover.items()] == list(range(1000))
    thread.join()


async def test_a_reader_that_does_not_read_holds_the_thread_back() -> None:
    handover = Handover[int](room=4)
    done: list[int] = []
    is_filled = threading.Event()

    def produce() -> None:
        number = 0
        while handover.put(number):
            done.append(number)
            number += 1
            if number == 14:
                is_filled.set()

    thread = threading.Thread(target=produce)
    thread.start()
    items = handover.items()
    assert [await anext(items) for _ in range(10)] == list(range(10))
    assert await asyncio.to_thread(is_filled.wait, 5)
    assert handover.is_full
    handover.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(done) == 14


async def test_an_error_comes_after_the_pieces_before_it() -> None:
    handover = Handover[int]()
    handover.put(1)
    handover.end(ValueError("broken"))
    handover.end()
    items = handover.items()
    assert await anext(items) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(items)


async def test_nothing_is_kept_once_nobody_reads() -> None:
    handover = Handover[int]()
    handover.put(1)
    handover.close()
    assert handover.is_closed
    assert handover.is_empty
    assert not handover.put(2)
    assert not handover.add(3)


def test_a_loop_that_is_gone_closes_it() -> None:
    async def made() -> Handover[int]:
        return Handover[int]()

    handover = asyncio.run(made())
    handover.add(1)
    assert handover.is_closed
