"""Asking providers for their lists of models, all at once and within a time limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from chorus.cli.hosted import HostedProvider, offered
from chorus.errors import ChorusError, UpstreamStatus
from chorus.llm.providers.model_info import decoded, listed_names
from chorus.llm.transport.clients import Clients, UpstreamEndpoint

LIST_SECS: Final = 8.0
"""How long a provider has for its list."""
_CONNECT_SECS: Final = 5.0
_MAX_BYTES: Final = 8 * 1024 * 1024
"""Of one list; OpenRouter's has 1 MB."""
_KEY_REFUSED: Final = frozenset({401, 403})


@dataclass(slots=True)
class Listing:
    """What one provider says with one key."""

    provider: HostedProvider
    variable: str
    """Holds the key."""
    base: str = ""
    """The address that took the key, else the first."""
    models: list[str] = field(default_factory=list)
    """Models that chat, the best choice first."""
    problem: str = ""
    """Why there is no list."""
    is_refused: bool = False
    """Whether the key is refused at every address."""


async def listings(providers: Sequence[HostedProvider], environ: Mapping[str, str]) -> list[Listing]:
    """Return what each of `providers` whose key is in `environ` says, in their order."""
    listed = [
        Listing(provider, variable)
        for provider in providers
        if (variable := provider.key_variable(environ)) is not None
    ]
    clients = Clients()
    try:
        async with anyio.create_task_group() as group:
            for listing in listed:
                group.start_soon(_ask, listing, environ, clients)
    finally:
        await clients.aclose()
    return listed


async def _ask(listing: Listing, environ: Mapping[str, str], clients: Clients) -> None:
    """Ask all addresses of one provider; the first one that takes the key is the one."""
    bases = listing.provider.addresses(environ)
    if not bases:
        listing.problem = f"{listing.provider.base_variable} is not set"
        return
    key = environ[listing.variable].strip()
    answers: dict[str, list[str] | ChorusError] = {}

    async def ask(base: str) -> None:
        answers[base] = await _listed(listing.provider, base, key, clients)

    async with anyio.create_task_group() as group:
        for base in bases:
            group.start_soon(ask, base)
    lists = {base: answer for base in bases if isinstance(answer := answers[base], list)}
    listing.base = next(iter(lists), bases[0])
    if lists:
        listing.models = offered(listing.provider, lists[listing.base])
        listing.problem = "" if listing.models else "its list has no model that chats"
        return
    problems = [answer for answer in answers.values() if isinstance(answer, ChorusError)]
    listing.is_refused = all(
        isinstance(problem, UpstreamStatus) and problem.upstream_status in _KEY_REFUSED for problem in problems
    )
    listing.problem = "its key is refused" if listing.is_refused else problems[0].message


async def _listed(provider: HostedProvider, base: str, key: str, clients: Clients) -> list[str] | ChorusError:
    """Return the names in the list at `base`, or why there is none."""
    headers = {}
    if provider.provider == "anthropic":
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    elif provider.provider == "azure":
        headers = {"api-key": key}
    try:
        at = UpstreamEndpoint(clients, name=provider.name, base=base, api_key=None if headers else key, headers=headers)
        with anyio.fail_after(LIST_SECS):
            with await at.endpoint(provider.list_path()).get(connect_timeout=_CONNECT_SECS) as reply:
                raw = await reply.beginning(_MAX_BYTES)
    except TimeoutError:
        return ChorusError(f"no answer within {LIST_SECS:g} s")
    except ChorusError as problem:
        return problem
    except ValueError:  # no address at all
        return ChorusError(f"'{base}' is no address")
    names = [name.removeprefix("models/") for name in listed_names(decoded(raw))]
    return names or ChorusError("its answer is no list of models")
