"""Who goes into which batch, and when it goes (K3)."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chorus.admission.batch import Batch, Batcher, Place

pytestmark = pytest.mark.requirement("K3")
WINDOW = 5.0


class Gathering(RuleBasedStateMachine):
    """Anybody comes and leaves at any time; a batch is taken in the moment in which it is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.there: dict[Place[int], str] = {}
        """Who waits, in the order of arrival, and their keys."""
        self.gone: dict[int, str] = {}
        """What became of each item: that it was sent, or that it left."""
        self.count = 0

    @initialize(max_size=st.integers(1, 6))
    def begin(self, max_size: int) -> None:
        self.max_size = max_size
        self.batcher = Batcher[int](max_size, WINDOW)

    @rule(key=st.sampled_from("ab"), size=st.integers(1, 8))
    def join(self, key: str, size: int) -> None:
        self.count += 1
        earlier = self.batcher.gathering(key)
        place = self.batcher.join(self.count, key=key, size=size, now=self.now)
        self.there[place] = key
        # it goes by itself
        assert not (size > self.max_size and earlier is not None and earlier.is_closed)
        for batch in {place.batch, earlier or place.batch}:
            if batch.due_at <= self.now:
                self.take(batch)

    @precondition(lambda self: self.there)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        place = list(self.there)[which % len(self.there)]
        del self.there[place]
        self.gone[place.item] = "left"
        self.batcher.leave(place)
        self.batcher.leave(place)
        assert place.item not in place.batch.items

    @rule(secs=st.floats(0, 2 * WINDOW))
    def wait(self, secs: float) -> None:
        until = self.now + secs
        while (batch := self.next_due()) is not None and batch.due_at <= until:
            self.now = max(self.now, batch.due_at)
            self.take(batch)
        self.now = until

    def next_due(self) -> Batch[int] | None:
        return min((place.batch for place in self.there), key=lambda batch: batch.due_at, default=None)

    def take(self, batch: Batch[int]) -> None:
        self.batcher.close(batch)
        places = [place for place in self.there if place.batch is batch]
        # whole, nobody else, in the order of arrival
        assert [place.item for place in places] == batch.items
        assert len({self.there[place] for place in places}) == 1
        size = sum(place.size for place in places)
        assert size == batch.size
        assert size <= self.max_size or len(places) == 1
        for place in places:
            assert self.now - place.arrived <= WINDOW * (1 + 1e-9)
            assert self.gone.setdefault(place.item, "sent") == "sent"
            del self.there[place]

    @invariant()
    def nobody_is_lost(self) -> None:
        waiting = {place.item for place in self.there}
        assert waiting.isdisjoint(self.gone)
        assert len(waiting) + len(self.gone) == self.count

    @invariant()
    def what_is_gathered_is_wanted(self) -> None:
        if self.count:
            assert len(self.batcher) == len({place.batch for place in self.there})


TestGathering = pytest.mark.requirement("K3")(Gathering.TestCase)


def test_nobody_joins_what_is_full_and_who_does_not_fit_makes_it_go() -> None:
    batcher = Batcher[str](3, WINDOW)
    first = batcher.join("a", key=None, size=2, now=0.0).batch
    assert first.due_at == WINDOW
    second = batcher.join("b", key=None, size=2, now=1.0).batch
    assert (first.due_at, second.due_at) == (-math.inf, 1.0 + WINDOW)
    alone = batcher.join("c", key=None, size=4, now=1.0).batch
    assert (alone.items, alone.is_closed, second.is_closed) == (["c"], True, False)
    assert batcher.join("d", key=None, size=1, now=2.0).batch is second
    assert (second.items, second.is_closed) == (["b", "d"], True)


def test_when_the_first_leaves_the_next_one_has_its_own_window() -> None:
    batcher = Batcher[str](3, WINDOW)
    place = batcher.join("a", key=None, size=1, now=0.0)
    batch = batcher.join("b", key=None, size=1, now=2.0).batch
    batcher.leave(place)
    assert batch.due_at == 2.0 + WINDOW
