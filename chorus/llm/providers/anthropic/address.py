"""Where Anthropic's API is, and what each request there is sent with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

DEFAULT_BASE: Final = "https://api.anthropic.com"
VERSION: Final = "2023-06-01"
"""The version of the wire that is written and read here; a model's `headers` may name another."""
BETA: Final = "anthropic-beta"
_ENDINGS: Final = ("/messages", "/v1")


def root_of(api_base: str) -> str:
    """Return an address without its version: with and without `/v1` mean the same."""
    root = api_base.rstrip("/") or DEFAULT_BASE
    for ending in _ENDINGS:
        root = root.removesuffix(ending).rstrip("/")
    return root


def fixed_headers(api_key: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every request.

    The key, the version, and the configured ones but for beta names.
    """
    own = {name.lower(): value for name, value in headers.items()}
    own.pop(BETA, None)
    return {**({"x-api-key": api_key} if api_key else {}), "anthropic-version": VERSION, **own}


def configured_betas(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of beta features in a model's `headers`."""
    given = next((value for name, value in headers.items() if name.lower() == BETA), "")
    return tuple(name for part in given.split(",") if (name := part.strip()))


def beta_header(betas: Iterable[str]) -> dict[str, str]:
    """Return the header with all names, each once; nothing where there are none."""
    names = dict.fromkeys(betas)
    return {BETA: ",".join(names)} if names else {}
