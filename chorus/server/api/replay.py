"""`POST /api/v1/workflows/{id}/replay`: a past request, sent to another workflow or model."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.types import Scope, Send

from chorus.errors import UnsupportedFeature
from chorus.events import RunFailed, RunFinished
from chorus.server.http.auth import check_model, principal_of
from chorus.server.http.bodies import RequestBody
from chorus.server.http.context import request_context
from chorus.server.http.wire import disconnect_of, send_json
from chorus.service import Chorus
from chorus.telemetry.runlog import RunLog
from chorus.telemetry.trace import workflow_details

REPLAY_PATH: Final = "/api/v1/workflows/{id}/replay"


class ReplayBody(msgspec.Struct):
    """The request body: what is asked instead."""

    model: str


class Replay:
    """The handler over one `Chorus`."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def answer(self, scope: Scope, body: RequestBody[ReplayBody], send: Send) -> None:
        """Run the requests of the trace `{id}` again, and send the answers and the new trace."""
        model = body.fields.model
        check_model(scope, model)
        past = await self._chorus.past_runs.requests(scope["path_params"]["id"])
        if not past:
            raise UnsupportedFeature("This request was relayed: its body is not kept, and cannot be asked again.")
        requests = [msgspec.structs.replace(request, model=model) for request in past]
        log = RunLog(self._chorus.repeats)
        context = request_context(scope)
        context.run = log.summary
        async with self._chorus.run(
            requests,
            request_id=context.request_id,
            unique=context.unique,
            streaming=False,
            observers=(log,),
            cancel_signal=disconnect_of(scope),
            caller=principal_of(scope),
        ) as journal:
            await journal.ended()
            over = journal.events[-1]
            if isinstance(over, RunFailed):
                raise over.error
            assert isinstance(over, RunFinished)
            answers = [answer.text for answer in over.answers]
            await send_json(send, {"answers": answers, "workflow": workflow_details(journal.events)})
