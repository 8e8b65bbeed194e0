"""What a source says becomes the replicas of a model, whatever happens to the source (D2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
import structlog

from chorus.discovered import Discovered
from chorus.discovery.instance import Instance
from chorus.discovery.source import SourceError, Status
from chorus.errors import ConfigError, LLMError, Problem, UpstreamUnavailable
from chorus.llm.address import ReplicaAddress
from chorus.llm.base import Call
from chorus.llm.fake import FakeUpstream, Hangs, Says
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.replica import Replica
from chorus.types import ChatRequest, Message

pytestmark = pytest.mark.requirement("D2")
A, B = Instance("a", 1), Instance("b", 2)
QUESTION = ChatRequest("m", (Message("user", "How?"),))


class Said:
    """A source that says what a test lets it."""

    description = "a test"

    def __init__(self) -> None:
        self._said: asyncio.Queue[tuple[Instance, ...] | SourceError] = asyncio.Queue()

    async def say(self, *instances: Instance) -> None:
        await self._said.put(instances)
        await anyio.wait_all_tasks_blocked()

    async def fail(self, sentence: str) -> None:
        await self._said.put(SourceError(sentence))
        await anyio.wait_all_tasks_blocked()

    async def watch(self, status: Status) -> AsyncIterator[tuple[Instance, ...]]:
        while True:
            said = await self._said.get()
            if isinstance(said, SourceError):
                status.failed(said)
            else:
                status.answered()
                yield said

    async def look(self) -> tuple[Instance, ...]:
        raise NotImplementedError


class Followed:
    def __init__(self, grace_secs: float = 60.0) -> None:
        self.upstreams: dict[str, FakeUpstream] = {}
        self.pool = Pool("m", self._connect, ())
        self.source = Said()
        self.changes = 0
        self.released: list[str] = []
        self.discovered = Discovered(
            "m", "consul", self.source, self.pool, "http://{host}:{port}/v1", "key", grace_secs, self.release
        )

    def _connect(self, at: ReplicaAddress) -> Replica:
        if "refused" in at.api_base:
            raise ConfigError([Problem("api_base", "no such address")])
        assert at.api_key == "key"
        return Replica(at.api_base, self.upstreams.setdefault(at.api_base, FakeUpstream(Says(at.api_base))))

    async def release(self, address: str) -> None:
        self.released.append(address)

    def changed(self) -> None:
        self.changes += 1

    @property
    def ids(self) -> list[str]:
        return [replica.instance_id for replica in self.pool.replicas]

    async def ask(self, session: str | None = None) -> str:
        async with self.pool.open(Call(QUESTION, session=session)) as chunks:
            return "".join([chunk.text async for chunk in chunks])


@asynccontextmanager
async def following(grace_secs: float = 60.0) -> AsyncIterator[Followed]:
    followed = Followed(grace_secs)
    async with anyio.create_task_group() as group:
        group.start_soon(followed.discovered.follow, followed.changed)
        await anyio.wait_all_tasks_blocked()
        yield followed
        group.cancel_scope.cancel()


async def refusal(followed: Followed) -> str:
    with pytest.raises(UpstreamUnavailable) as raised:
        with anyio.fail_after(1):
            await followed.ask()
    assert raised.value.status == 503
    return str(raised.value)


async def test_without_an_instance_calls_fail_at_once_and_say_why() -> None:
    async with following() as followed:
        assert await refusal(followed) == "No instance of 'm' is known yet: discovery has not answered"
        await followed.source.fail("Consul is away")
        assert await refusal(followed) == "No instance of 'm' is known: Consul is away"
        await followed.source.say()
        assert await refusal(followed) == "No instance of 'm' is known: discovery finds none (a test)"


async def test_replicas_that_stay_keep_what_is_known_of_them_and_sessions_move() -> None:
    async with following() as followed:
        await followed.source.say(A, B)
        assert followed.ids == ["http://a:1/v1", "http://b:2/v1"]
        first = await followed.ask("s")
        kept = next(replica for replica in followed.pool.replicas if replica.instance_id != first)
        gone = A if first == "http://a:1/v1" else B
        with structlog.testing.capture_logs() as lines:
            await followed.source.say(*({A, B} - {gone}), Instance("c", 3))
        assert kept in followed.pool.replicas
        assert lines == [
            {
                "event": "discovery has changed the replicas",
                "log_level": "info",
                "model": "m",
                "instances": 2,
                "added": ["http://c:3/v1"],
                "removed": [first],
            }
        ]
        assert await followed.ask("s") != first
        assert followed.released == [first]
        assert followed.changes == 2


async def test_a_call_at_a_replica_that_is_gone_ends_there() -> None:
    async with following() as followed:
        gate = anyio.Event()
        followed.upstreams["http://a:1/v1"] = FakeUpstream(Hangs())
        await followed.source.say(A)
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                with anyio.move_on_after(5):
                    gate.set()
                    await followed.ask()

            group.start_soon(ask)
            await gate.wait()
            await anyio.wait_all_tasks_blocked()
            leaving = followed.pool.replicas[0]
            await followed.source.say(B)
            assert leaving.in_flight == 1
            assert await followed.ask() == "http://b:2/v1"
            group.cancel_scope.cancel()


async def test_the_last_list_is_kept_while_the_source_is_away() -> None:
    async with following(grace_secs=0.0) as followed:
        await followed.source.say(A)
        await followed.source.fail("away")
        assert followed.ids == ["http://a:1/v1"]
        assert followed.discovered.as_json(anyio.current_time())["problem"] == "away"


async def test_an_empty_list_holds_after_a_time_of_grace_only() -> None:
    async with following(grace_secs=0.2) as followed:
        await followed.source.say(A)
        await followed.source.say()
        assert followed.ids == ["http://a:1/v1"]
        await followed.source.say(A, B)  # in time
        await anyio.sleep(0.3)
        assert len(followed.ids) == 2
        await followed.source.say()
        await followed.source.fail("away")  # what it said last may not hold any more
        await anyio.sleep(0.3)
        assert len(followed.ids) == 2
        await followed.source.say()
        await anyio.sleep(0.3)
        assert followed.ids == []
        assert "finds none" in await refusal(followed)
        await followed.source.say(B)
        assert await followed.ask() == "http://b:2/v1"


async def test_a_list_that_cannot_be_used_leaves_the_one_of_before() -> None:
    async with following() as followed:
        await followed.source.say(A)
        with structlog.testing.capture_logs() as lines:
            await followed.source.say(B, Instance("refused", 1))
        assert followed.ids == ["http://a:1/v1"]
        assert lines[0]["event"] == "discovery finds addresses that cannot be used"


async def test_a_pool_that_becomes_empty_while_a_call_is_tried_again_fails_with_its_error() -> None:
    from chorus.errors import UpstreamConnect
    from chorus.llm.fake import Fails

    async with following(grace_secs=0.0) as followed:
        followed.upstreams["http://a:1/v1"] = FakeUpstream(Fails(UpstreamConnect("gone")))
        await followed.source.say(A)
        followed.pool.update(())
        with pytest.raises(LLMError, match="No instance"):
            await followed.ask()
