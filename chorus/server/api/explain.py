"""`POST /api/v1/explain`: what a request would take, before anybody is asked."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from starlette.types import Scope, Send

from chorus.server.dialects.responses import inputs
from chorus.server.dialects.responses.tools import ToolTable
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.auth import check_model, owner_of, user_of
from chorus.server.http.bodies import RequestBody
from chorus.server.http.wire import send_json
from chorus.service import Chorus
from chorus.usage import estimate_tokens
from chorus.workflow.estimate import ANSWER_TOKENS, PROMPT_TOKENS, Estimate, StageEstimate, estimate
from chorus.workflow.outline import outline
from chorus.workflow.plan import drawn

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class ExplainBody(msgspec.Struct):
    """The request body. The conversation is read as `/v1/responses` reads it, so that the body of
    most requests will do; `prompt_tokens` and `answer_tokens` win over what is counted and over
    `max_tokens`. The notes on `X-User-ID` are counted, but with `memory: false`."""

    model: str
    messages: list[Any] | str | None = None
    input: str | list[Any] | dict[str, Any] | None = None
    prompt: str | list[Any] | dict[str, Any] | None = None
    instructions: str | list[Any] | dict[str, Any] | None = None
    max_tokens: _Tokens | None = None
    prompt_tokens: _Tokens | None = None
    answer_tokens: _Tokens | None = None
    memory: bool = True

    def tokens_of_prompt(self) -> int:
        """Return about how many tokens each model is sent.

        Raises:
            InvalidRequest: the conversation cannot be read; `param` names the field.
        """
        given = (self.instructions, self.input, self.messages, self.prompt)
        counted = PROMPT_TOKENS
        if any(part is not None for part in given):
            messages = inputs.messages(*given, ToolTable(), Warnings())
            counted = sum(estimate_tokens(message.text) for message in messages)
        return self.prompt_tokens if self.prompt_tokens is not None else counted

    def tokens_of_answer(self) -> int:
        """Return how many tokens each model answers."""
        named = (self.answer_tokens, self.max_tokens, ANSWER_TOKENS)
        return next(tokens for tokens in named if tokens is not None)


class Explain:
    """The handler over one `Chorus`. No model is called."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def answer(self, scope: Scope, body: RequestBody[ExplainBody], send: Send) -> None:
        """Send the tree, the calls, the time and the money of one request.

        Raises:
            ForbiddenModel: the key may not ask for it.
            UnknownModel: nothing has that name.
            InvalidRequest: the conversation cannot be read; `param` names the field.
        """
        fields = body.fields
        check_model(scope, fields.model)
        snapshot = self._chorus.snapshot
        plan = snapshot.resolve(fields.model)
        prompt_tokens, answer_tokens = fields.tokens_of_prompt(), fields.tokens_of_answer()
        if (user := user_of(scope)) is not None and fields.memory and fields.prompt_tokens is None:
            prompt_tokens += await self._chorus.memory.tokens(owner_of(scope), user)
        expected = estimate(
            plan.root,
            snapshot.models,
            total=plan.total,
            max_parallel=plan.max_parallel,
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
        )
        assumed = {"prompt_tokens": prompt_tokens, "answer_tokens": answer_tokens}
        named = {
            "model": fields.model,
            "tree": [line.en for line in drawn(plan.root)],
            "outline": outline(plan, snapshot.models),
        }
        await send_json(send, {**named, "assumed": assumed, **_shown(expected)})


def _shown(expected: Estimate) -> dict[str, Any]:
    return {
        "candidates": expected.candidates,
        "calls": expected.calls,
        "at_least_calls": expected.at_least_calls,
        "extra_calls": expected.extra_calls,
        "worst_case_secs": expected.worst_secs,
        "cost": {"estimate": expected.cost, "partial": expected.partial_cost, "unpriced": expected.unpriced},
        "stages": [_stage(stage) for stage in expected.stages],
    }


def _stage(stage: StageEstimate) -> dict[str, Any]:
    return {
        "path": "/".join(stage.path),
        "stage": stage.stage,
        "name": stage.name,
        "model": stage.model,
        "calls": stage.calls,
        "extra_calls": stage.extra_calls,
        "worst_case_secs": stage.worst_secs if stage.worst_secs < math.inf else None,
        "prompt_tokens": stage.prompt_tokens,
        "completion_tokens": stage.completion_tokens,
        "cost": stage.cost,
    }
