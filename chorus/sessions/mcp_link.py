"""A link to another MCP server by the official SDK, over HTTP or to a child process (M5).

Above: `mcp_connection` keeps a link while it works. What the other side may send is bounded. The
SDK takes two seconds to import, so that nobody imports this module before it is needed.
"""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

import anyio
import httpx2
from anyio.abc import ByteReceiveStream, Process
from mcp import Client
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import TextContent, jsonrpc_message_adapter

from chorus.errors import StorageUnavailable, excerpt
from chorus.wirejson import JSON

MAX_BYTES: Final = 1024 * 1024
"""Of one response, or of one line: all notes on a user have a hundredth of it."""
_EXIT_SECS: Final = 2.0
"""How long a process may take to end when its input is closed."""

_user: ContextVar[str] = ContextVar("chorus.memory.user", default="")


class Link:
    """A connection that has been made. Used from any task; entered and left by one."""

    def __init__(self, client: Client, tools: Mapping[str, Mapping[str, Any]], *, is_http: bool) -> None:
        """`tools` are the schemas of arguments by the names of tools."""
        self._client = client
        self._tools = tools
        self._is_http = is_http

    def has(self, tool: str) -> bool:
        """Return whether the server has this tool."""
        return tool in self._tools

    async def call(self, tool: str, user: str, arguments: Mapping[str, JSON]) -> JSON:
        """Return what `tool` says of `user`: its structured result, else its text.

        The user is the argument `user_id`, else `user`, where the tool takes one; the header
        `X-User-ID` otherwise.

        Raises:
            StorageUnavailable: there is no such tool, it takes no user, or it has failed.
            Exception: the link is broken.
        """
        schema = self._tools.get(tool)
        if schema is None:
            raise StorageUnavailable(f"The memory server has no tool '{tool}'.")
        properties = schema.get("properties") or {}
        named = next((name for name in ("user_id", "user") if name in properties), None)
        if named is None and not self._is_http:
            raise StorageUnavailable(f"The tool '{tool}' of the memory server takes no 'user_id'.")
        token = _user.set("" if named is not None else user)
        try:
            given = {**arguments, named: user} if named is not None else dict(arguments)
            result = await self._client.call_tool(tool, given)
        finally:
            _user.reset(token)
        text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
        if result.is_error:
            raise StorageUnavailable(f"The memory server says: {excerpt(text)}")
        structured: JSON = result.structured_content
        return structured if structured is not None else text


@cache
def certificates() -> ssl.SSLContext:
    """Return the certificates that are trusted. Reading them takes 0.4 s, the first time."""
    return httpx2.create_ssl_context()


@asynccontextmanager
async def http_link(url: str, api_key: str | None) -> AsyncIterator[Link]:
    """Connect to the server at `url`."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key is not None else {}
    verify = certificates() if url.lower().startswith("https:") else False
    hooks: dict[str, list[Any]] = {"request": [_name_user], "response": [_bound]}
    async with httpx2.AsyncClient(headers=headers, event_hooks=hooks, timeout=30, verify=verify) as http:
        transport = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_BYTES)
        async with Client(transport) as client:
            yield Link(client, await _schemas(client), is_http=True)


@asynccontextmanager
async def process_link(command: Sequence[str]) -> AsyncIterator[Link]:
    """Start `command` and connect to its standard input and output."""
    async with Client(_process(command)) as client:
        yield Link(client, await _schemas(client), is_http=False)


async def _schemas(client: Client) -> dict[str, Mapping[str, Any]]:
    return {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}


async def _name_user(request: httpx2.Request) -> None:
    if user := _user.get():
        request.headers["X-User-ID"] = user


async def _bound(response: httpx2.Response) -> None:
    response.stream = _Bounded(response.stream)  # type: ignore[arg-type]


class _Bounded(httpx2.AsyncByteStream):
    """The body of a response, which fails beyond MAX_BYTES."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._inner:
            size += len(piece)
            if size > MAX_BYTES:
                raise httpx2.StreamError(f"the response is larger than {MAX_BYTES} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def _process(command: Sequence[str]) -> AsyncIterator[tuple[Any, Any]]:
    """Yield the streams of messages from and to a process. The SDK's own reads lines of any
    length."""
    process = await anyio.open_process(
        command, stderr=None, env=get_default_environment(), start_new_session=os.name == "posix"
    )
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def receive() -> None:
        async with incoming:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                async for line in _lines(stdout):
                    await incoming.send(_message(line))

    async def send() -> None:
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            async for message in outgoing:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stdin.send(text.encode() + b"\n")

    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, process)
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(receive)
        group.start_soon(send)
        try:
            yield read, write
        finally:
            group.cancel_scope.cancel()
            for stream in (incoming, read, write, outgoing):
                stream.close()


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    """Yield the lines of `stream`; a line that is too long ends it."""
    buffer = bytearray()
    async for piece in stream:
        *whole, rest = piece.split(b"\n")
        for part in whole:
            buffer += part
            yield bytes(buffer)
            buffer.clear()
        buffer += rest
        if len(buffer) > MAX_BYTES:
            return


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as problem:
        return problem


async def _end(process: Process) -> None:
    """Let the process end, and kill it and its children where it does not."""
    with anyio.CancelScope(shield=True):
        if process.stdin is not None:
            await process.stdin.aclose()
        with anyio.move_on_after(_EXIT_SECS):
            await process.wait()
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)  # its children, too
            elif process.returncode is None:
                process.kill()
        with anyio.move_on_after(_EXIT_SECS):
            await process.aclose()
