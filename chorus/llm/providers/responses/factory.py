"""The provider `responses` as a factory for the provider table."""

from __future__ import annotations

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.provider import Provider
from chorus.llm.providers.responses.upstream import ResponsesUpstream
from chorus.llm.transport.clients import Clients


def responses(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address`, which speaks OpenAI's Responses API, at one address."""
    upstream = ResponsesUpstream(
        clients,
        name=address.name,
        api_base=at.api_base,
        model=address.model or address.name,
        api_key=at.api_key,
        headers=address.headers,
        extra_body=address.extra_body,
        settings=address.settings,
    )
    return Provider(upstream.instance_id, upstream, check=upstream.check, lessons=upstream.learned)
