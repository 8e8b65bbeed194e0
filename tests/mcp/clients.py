"""The SDK's own client, over HTTP with headers of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

MODES: Final = ("auto", "legacy", "2026-07-28")
"""How a client of the SDK speaks: as it finds out, with the old handshake, or the newest protocol
at once.
"""
PROTOCOLS: Final = ("legacy", "2026-07-28")
"""The two that `auto` finds out between, for tests that start a server for each."""
TOOLS: Final = ["memory_get", "memory_upsert", "memory_delete", "list_models", "ask"]


@asynccontextmanager
async def connected(base: str, mode: str = "auto", **headers: str) -> AsyncIterator[Client]:
    """A client of the server at `base`."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    """The structured result of a tool."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The sentence with which a tool fails."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    [text] = result.content
    assert text.type == "text"
    return text.text
