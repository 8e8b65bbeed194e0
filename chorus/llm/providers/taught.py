"""Send a request to one replica with the fields that it takes, as its refusals have taught."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

from chorus import wirejson
from chorus.errors import UpstreamStatus
from chorus.llm.base import Call, Chunk, ignore
from chorus.llm.providers.learning import MAX_LESSONS_PER_CALL, Learned, Lesson
from chorus.llm.providers.learning import lesson_of as lesson_of_chat
from chorus.llm.providers.other_api import advise
from chorus.llm.providers.traits import Traits
from chorus.llm.transport.clients import Endpoint, Reply

LessonOf = Callable[[int, bytes, bytes, Traits, Sequence[Lesson]], Lesson | None]
"""What a refusal teaches; see `learning.lesson_of`."""

_LARGE: Final = frozenset({"messages", "tools", "input", "prompt"})


async def sent(
    instance_id: str,
    learned: Learned,
    written: Callable[[Traits], tuple[Endpoint, dict[str, Any]]],
    *,
    connect_timeout: float,
    headers: Mapping[str, str],
    attempting: Callable[[str], None] = ignore,
    warn: Callable[[str], None] = ignore,
    lesson_of: LessonOf = lesson_of_chat,
) -> tuple[Reply, dict[str, Any]]:
    """Return the successful reply to a request, which the caller closes, and the fields of the body
    that was sent, but for the conversation and its tools. `written` makes the endpoint and the
    body; `attempting` and `warn` are those of a `Call`; `lesson_of` reads a refusal.

    A refusal that names a field which the answer does not need is no failure of the replica: the
    request goes once more without it, or with its other name. Each lesson is tried once, and kept
    when the request is accepted with it.

    Raises:
        LLMError: the connection failed, or the status was not 2xx.
    """
    traits = learned.traits
    lessons: list[Lesson] = []
    while True:
        endpoint, body = written(traits)
        content = wirejson.encode_upstream(body)
        # thousands of objects, which the garbage collector would walk through while the model
        # thinks: a sixth of the CPU of a request with 300 messages
        body = {name: value for name, value in body.items() if name not in _LARGE}
        attempting(instance_id)
        try:
            reply = await endpoint.post(content, connect_timeout=connect_timeout, headers=headers)
        except UpstreamStatus as error:
            advise(error)
            if len(lessons) == MAX_LESSONS_PER_CALL:
                raise
            lesson = lesson_of(error.upstream_status, error.body, content, traits, lessons)
            if lesson is None:
                raise
            lessons.append(lesson)
            traits = lesson.applied(traits)
            continue
        if lessons:
            learned.remember(lessons)
            for lesson in lessons:
                warn(f"'{instance_id}' refused a field: {lesson}.")
        return reply, body


class Taught(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """`Upstream.open` of a provider: entering sends the call as `sent` does, leaving closes the
    reply.

    A class, since a block made of an asynchronous generator takes 6 µs longer, and five such blocks
    lie around each call.
    """

    __slots__ = ("_call", "_instance_id", "_learned", "_lesson_of", "_read", "_reply", "_written")

    def __init__(
        self,
        call: Call,
        instance_id: str,
        learned: Learned,
        written: Callable[[Call, Traits], tuple[Endpoint, dict[str, Any]]],
        read: Callable[[Call, Reply, dict[str, Any]], AsyncIterator[Chunk]],
        lesson_of: LessonOf = lesson_of_chat,
    ) -> None:
        """`written` makes the endpoint and the body, `read` the chunks of the reply to that body,
        `lesson_of` a lesson of a refusal.
        """
        self._call = call
        self._instance_id = instance_id
        self._learned = learned
        self._written = written
        self._read = read
        self._lesson_of = lesson_of
        self._reply: Reply | None = None

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        call = self._call
        self._reply, body = await sent(
            self._instance_id,
            self._learned,
            partial(self._written, call),
            connect_timeout=call.connect_timeout,
            headers=call.headers,
            attempting=call.attempting,
            warn=call.warn,
            lesson_of=self._lesson_of,
        )
        return self._read(call, self._reply, body)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self._reply is not None:
            self._reply.close()
