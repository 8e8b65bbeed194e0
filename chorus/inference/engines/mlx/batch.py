"""The thread that owns the model: it alone loads it, and makes and runs its batch.

MLX ties what it computes to a thread: a batch that two threads use corrupts its caches.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from chorus.errors import UpstreamProtocol
from chorus.inference.engines.handover import Handover
from chorus.inference.engines.mlx.draws import Draws, processors_of, sampler_of

_BURST_SECS: Final = 0.004
"""How long the first request of an idle engine waits for others.

Prompts that begin together are computed together; one that comes a step later holds all of them
back.
"""
_LOOK_SECS: Final = 0.02
"""Between two looks at readers that hold their answers back, where no other answer goes on."""

_log = structlog.get_logger("chorus.worker")


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token."""

    number: int
    finish: str | None
    """"stop" with the token that ends the answer, "length" with the last one there may be."""


@dataclass(slots=True, eq=False)
class Job:
    """One answer."""

    prompt: list[int]
    max_tokens: int
    draws: Draws
    handover: Handover[Token]
    uid: int = -1
    generated: list[int] = field(default_factory=list)
    sampler: Any = None
    processors: list[Any] = field(default_factory=list)


class BatchThread:
    """Generates the answers of all jobs together, a token of each at a time."""

    def __init__(self, load: Callable[[], tuple[Any, list[list[int]]]], size: int) -> None:
        """Generate at most `size` answers at a time.

        `load`, called on the thread, gives the model and the token sequences that end an answer.
        """
        self._load = load
        self._size = size
        self._changed = threading.Condition()
        self._new: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._paused: dict[Job, Any] = {}
        """Answers of slow readers, each with its cache; None where it has to be computed again."""
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="mlx-lm", daemon=True)
        self._batch: Any = None
        self.loaded = threading.Event()
        self.problem: Exception | None = None
        """Why the model cannot be loaded."""
        self.steps = 0
        """Tokens that were generated, over all answers."""

    def start(self) -> None:
        """Start the thread, which loads the model and sets `loaded`."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Generate the answer of `job` until it is whole or its handover is closed."""
        with self._changed:
            self._new.append(job)
            self._changed.notify()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            model, stops = self._load()
            self._batch = self._empty(model, stops)
        except Exception as problem:
            self.problem = problem
            return
        finally:
            self.loaded.set()
        while not self._is_stopping:
            try:
                self._round()
            except Exception:
                _log.exception("the engine failed; its answers are lost")
                for job in (*self._running.values(), *self._paused):
                    job.handover.end(UpstreamProtocol("mlx-lm failed"))
                self._running.clear()
                self._paused.clear()
                self._batch = self._empty(model, stops)
        self._batch.close()

    def _empty(self, model: Any, stops: list[list[int]]) -> Any:
        from mlx_lm.generate import BatchGenerator

        return BatchGenerator(
            model, stop_tokens=stops, completion_batch_size=self._size, prefill_batch_size=min(8, self._size)
        )

    def _round(self) -> None:
        """Wait for work, and do one step of it."""
        self._await_work()
        self._drop_unread()
        self._resume()
        while self._new:
            self._insert(self._new.popleft())
        if not self._running:
            return
        _, responses = self._batch.next()
        self.steps += len(responses)
        for response in responses:
            self._hand_over(response)

    def _await_work(self) -> None:
        with self._changed:
            if self._running or self._new or self._is_stopping:
                return
            self._changed.wait(_LOOK_SECS if self._paused else None)
        if self._new and not self._paused:
            time.sleep(_BURST_SECS)

    def _drop_unread(self) -> None:
        unread = [uid for uid, job in self._running.items() if job.handover.is_closed]
        if unread:
            self._batch.remove(unread)
        for uid in unread:
            del self._running[uid]
        for job in [job for job in self._paused if job.handover.is_closed]:
            del self._paused[job]

    def _insert(self, job: Job, cache: Any = None) -> None:
        """Put an answer into the batch: from its beginning, or where it was paused."""
        if job.handover.is_closed:
            return
        try:
            if job.sampler is None:
                job.sampler, job.processors = sampler_of(job.draws), processors_of(job.draws)
            tokens = [*job.prompt, *job.generated]
            [job.uid] = self._batch.insert(
                [tokens if cache is None else tokens[-1:]],
                max_tokens=[job.max_tokens - len(job.generated)],
                caches=[cache],
                all_tokens=[[] if cache is None else tokens[:-1]],
                samplers=[job.sampler],
                logits_processors=[job.processors],
            )
        except Exception as problem:
            _log.exception("an answer cannot begin")
            job.handover.end(UpstreamProtocol("mlx-lm cannot begin the answer", detail=str(problem)))
        else:
            self._running[job.uid] = job

    def _hand_over(self, response: Any) -> None:
        job = self._running[response.uid]
        finish = response.finish_reason
        job.generated.append(response.token)
        is_read = job.handover.add(Token(response.token, finish))
        if finish is not None:
            del self._running[response.uid]
            job.handover.end()
        elif is_read and job.handover.is_full:
            self._pause(job)

    def _pause(self, job: Job) -> None:
        """Take an answer whose reader is slow out of the batch: it holds back no other."""
        from mlx_lm.models.cache import trim_prompt_cache

        del self._running[job.uid]
        cache, _ = self._batch.remove([job.uid], return_prompt_caches=True)[job.uid]
        # what it is resumed with is the last token, which the cache knows already
        self._paused[job] = cache if trim_prompt_cache(cache, 1) == 1 else None

    def _resume(self) -> None:
        for job in [job for job in self._paused if job.handover.is_empty]:
            self._insert(job, self._paused.pop(job))
