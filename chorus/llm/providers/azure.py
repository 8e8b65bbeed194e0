"""The provider for Azure OpenAI: OpenAI's API at another address and with another header (L2).

The address is a resource (`https://NAME.openai.azure.com`), its `/openai/v1`, or one deployment in
it. Without a dated `api_version` a resource is asked at `/openai/v1`, where the deployment is the
`model` of the body; with one, the deployment stands in the path. Source: Microsoft's "Azure OpenAI
v1 API" and "REST API reference", November 2026.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.provider import Provider
from chorus.llm.providers.openai import OpenAIAddress, OpenAIUpstream
from chorus.llm.providers.openai_relay import OpenAIRelay
from chorus.llm.providers.traits import azure_traits
from chorus.llm.transport.clients import Clients, UpstreamEndpoint

LAST_DATED_VERSION: Final = "2024-10-21"
"""The last version with a date that is no preview: for deployments whose configuration names
none."""
_WITHOUT_DATE: Final = frozenset({"", "v1", "preview", "latest"})
_TOKEN: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
"""A token of Microsoft Entra, which goes out as `authorization`."""


def azure(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address`, a deployment of Azure OpenAI, at one address."""
    model = address.model or address.name
    place = openai_address(at.api_base, model, address.settings.api_version or "")
    headers = {**_key_header(at.api_key), **address.headers}
    upstream = OpenAIUpstream(
        clients,
        name=address.name,
        at=place,
        model=model,
        headers=headers,
        extra_body=address.extra_body,
        traits=azure_traits(model, address.settings),
    )
    endpoint = UpstreamEndpoint(clients, name=address.name, base=place.base, api_key=None, headers=headers)
    relay = OpenAIRelay(endpoint, model, place.query)
    return Provider(upstream.instance_id, upstream, upstream, None, upstream.check, upstream.learned, relay)


def openai_address(api_base: str, deployment: str, version: str) -> OpenAIAddress:
    """Return where the endpoints of a deployment are. Pure."""
    base = api_base.rstrip("/").removesuffix("/chat/completions")
    root, slash, named = base.rpartition("/deployments/")
    if slash and "/" not in named:
        query = f"?api-version={version or LAST_DATED_VERSION}"
        return OpenAIAddress(base, query, models_base=root)
    is_v1 = base.endswith("/openai/v1")
    root = base.removesuffix("/v1").removesuffix("/openai") + "/openai"
    if is_v1 or version in _WITHOUT_DATE:
        query = "" if version in ("", "v1") else f"?api-version={version}"
        return OpenAIAddress(base if is_v1 else f"{root}/v1", query)
    return OpenAIAddress(f"{root}/deployments/{quote(deployment, safe='')}", f"?api-version={version}", root)


def _key_header(key: str | None) -> dict[str, str]:
    if not key:
        return {}
    return {"authorization": f"Bearer {key}"} if _TOKEN.fullmatch(key) else {"api-key": key}
