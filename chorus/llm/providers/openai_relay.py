"""Requests relayed to an OpenAI-compatible address: its other endpoints, with the model's name
there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chorus.llm.relay import RelayAnswer, RelayCall
from chorus.llm.transport.clients import UpstreamEndpoint
from chorus.llm.transport.relay_endpoint import RelayEndpoint


class OpenAIRelay:
    """`POST {api_base}{path}{query}`. `model` is the name that the upstream knows it by."""

    def __init__(self, upstream: UpstreamEndpoint, model: str, query: str = "") -> None:
        self._upstream = upstream
        self._query = query
        self._model = model
        self._endpoints: dict[str, RelayEndpoint] = {}

    @asynccontextmanager
    async def open(self, call: RelayCall) -> AsyncIterator[RelayAnswer]:
        """See `Relay.open`."""
        endpoint = self._endpoints.get(call.path)
        if endpoint is None:  # paths come from the table of routes, so that they are few
            endpoint = self._endpoints[call.path] = self._upstream.endpoint_of(RelayEndpoint, call.path + self._query)
        with await endpoint.send(
            call.body, self._model, connect_timeout=call.connect_timeout, headers=call.headers
        ) as reply:
            headers = dict(reply.headers)
            if "content-encoding" in headers:  # it is read decoded
                headers.pop("content-length", None)
            yield RelayAnswer(reply.status, headers, reply.parts())
