"""One model behind OpenAI's Responses API: what is sent for a call, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from chorus.llm.address import UNSET, Settings
from chorus.llm.base import Call, Chunk
from chorus.llm.counts import PromptEstimate
from chorus.llm.providers.learning import Learned
from chorus.llm.providers.responses.background import FollowedCall, Follower
from chorus.llm.providers.responses.lessons import lesson_of
from chorus.llm.providers.responses.output_items import OutputItems
from chorus.llm.providers.responses.reading import ResponseReader
from chorus.llm.providers.responses.request import request_body, with_extra_body
from chorus.llm.providers.responses.sse_events import events_of
from chorus.llm.providers.responses.tools import MAX_NAME, customs_of
from chorus.llm.providers.taught import Taught
from chorus.llm.providers.tool_names import OwnNames
from chorus.llm.providers.traits import Traits, responses_traits
from chorus.llm.reading.error_bodies import MAX_ERROR_BODY
from chorus.llm.transport.clients import Clients, Endpoint, Reply, UpstreamEndpoint
from chorus.wirejson import JSON

PATH: Final = "/responses"


class ResponsesUpstream:
    """One model behind an address of the Responses API. `model` is the name that the upstream knows
    it by."""

    def __init__(
        self,
        clients: Clients,
        *,
        name: str,
        api_base: str,
        model: str,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        settings: Settings = UNSET,
    ) -> None:
        self._upstream = UpstreamEndpoint(
            clients, name=name, base=api_base.rstrip("/"), api_key=api_key, headers=headers
        )
        self._responses = self._upstream.endpoint(PATH)
        self._models = self._upstream.endpoint("/models")
        self._name = name
        self._model = model
        self._extra_body = dict(extra_body or {})
        self._is_background = bool(self._extra_body.get("background"))
        self.learned = Learned(responses_traits(model, settings))
        self.instance_id = self._upstream.instance_id

    def open(self, call: Call) -> Taught:
        """See `Upstream.open`."""
        if self._is_background:
            follower = Follower(self._upstream, self._reader(call), path=PATH, connect_timeout=call.connect_timeout)
            return FollowedCall(follower, call, self.instance_id, self.learned, self._written, lesson_of)
        return Taught(call, self.instance_id, self.learned, self._written, self._chunks, lesson_of)

    def _written(self, call: Call, traits: Traits) -> tuple[Endpoint, dict[str, Any]]:
        """Return where the request goes, and its body."""
        body = request_body(call.request, self._model, traits, stream=call.stream, warn=call.warn)
        return self._responses, with_extra_body(body, self._extra_body)

    def _reader(self, call: Call) -> ResponseReader:
        request = call.request
        functions = {custom: function for function, custom in customs_of(request).items()}
        takes_items = bool(request.responses_options)
        names = OwnNames(request, MAX_NAME)
        items = OutputItems(self._name, functions, names, call.warn, takes_items=takes_items)
        return ResponseReader(self._name, items, prompt_estimate=PromptEstimate(request))

    async def _chunks(self, call: Call, reply: Reply, body: Mapping[str, Any]) -> AsyncIterator[Chunk]:
        """Yield the chunks of the reply."""
        reader = self._reader(call)
        kind = reply.content_type  # some stream unasked, some answer a stream with one object
        if kind != "text/event-stream" and (kind == "application/json" or not call.stream):
            for chunk in reader.whole(await reply.body()):
                yield chunk
            return
        async for data in events_of(reply):
            for chunk in reader.event(data):
                yield chunk
            if reader.is_over:
                return
        raise reader.cut()

    async def check(self, connect_timeout: float) -> None:
        """Ask for the list of models, which costs no token (D4).

        Raises:
            LLMError: it cannot be had.
        """
        with await self._models.get(connect_timeout=connect_timeout) as reply:
            await reply.beginning(MAX_ERROR_BODY)  # the beginning tells enough
