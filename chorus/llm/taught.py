"""Sending a request to one replica in the form that it takes: what a refusal teaches is tried at once, and remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from chorus.errors import UpstreamStatus
from chorus.llm.base import ignore
from chorus.llm.clients import Endpoint, Reply
from chorus.llm.learning import MAX_LESSONS_PER_CALL, Learned, Lesson, lesson_of
from chorus.llm.traits import Traits


@asynccontextmanager
async def sent(
    instance_id: str,
    learned: Learned,
    written: Callable[[Traits], tuple[Endpoint, dict[str, Any]]],
    *,
    connect_timeout: float,
    request_id: str,
    attempting: Callable[[str], None] = ignore,
    warn: Callable[[str], None] = ignore,
) -> AsyncIterator[tuple[Reply, dict[str, Any]]]:
    """The successful reply to a request, and the body that was sent for it. `written` makes the endpoint and the body;
    `attempting` and `warn` are those of a `Call`.

    A refusal that names a field which the answer does not need is no failure of the replica: the request goes once more
    without it, or with its other name. Each lesson is tried once, and kept when the request is accepted with it.

    Raises:
        LLMError: on entering: the connection failed, or the status was not 2xx.
    """
    traits = learned.traits
    lessons: list[Lesson] = []
    async with AsyncExitStack() as stack:
        while True:
            endpoint, body = written(traits)
            attempting(instance_id)
            exchange = endpoint.post(body, connect_timeout=connect_timeout, request_id=request_id)
            try:
                reply = await stack.enter_async_context(exchange)
            except UpstreamStatus as error:
                if len(lessons) == MAX_LESSONS_PER_CALL:
                    raise
                lesson = lesson_of(error.upstream_status, error.body, body, traits, lessons)
                if lesson is None:
                    raise
                lessons.append(lesson)
                traits = lesson.applied(traits)
                continue
            break
        if lessons:
            learned.remember(lessons)
            for lesson in lessons:
                warn(f"'{instance_id}' refused a field: {lesson}.")
        yield reply, body
