"""The tools behind the official SDK: over HTTP without sessions, and over stdio (M5).

The SDK takes two seconds to import, so that nobody imports this module before it is needed. Its
low-level server is used: the comfortable one sets up the log of the whole process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool
from sse_starlette.sse import AppStatus
from starlette.types import ASGIApp, Scope

from chorus.errors import ChorusError, NotFound
from chorus.mcp.tool import Call, Tool
from chorus.mcp.toolbox import INSTRUCTIONS, NAME, VERSION, Toolbox, error_text

Context = ServerRequestContext[Any, Any]

_UNCHECKED: Final = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""Host and Origin have been checked by the edge, with names that the configuration allows."""


def make_server(toolbox: Toolbox, call_of: Callable[[Context], Call]) -> Server[Any]:
    """Return the SDK's server of `toolbox`. `call_of` says who makes a request."""
    schemas = {tool.name: tool.input_schema for tool in toolbox.tools}
    listed = ListToolsResult(tools=[_listed(tool) for tool in toolbox.tools])

    async def list_tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return listed

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        try:
            tool = toolbox.tool(params.name)
        except NotFound as unknown:
            raise MCPError(INVALID_PARAMS, unknown.message) from None

        async def progress(steps: int, sentence: str) -> None:
            await context.session.report_progress(steps, None, sentence)

        is_asked = context.meta is not None and context.meta.get("progress_token") is not None
        call = replace(call_of(context), progress=progress if is_asked else None)
        outcome = await toolbox.call(tool, call, params.arguments)
        if isinstance(outcome, ChorusError):
            meta = {"chorus/code": outcome.code, "chorus/request_id": call.request_id}
            text = error_text(outcome, call.request_id)
            return CallToolResult(content=[TextContent(text=text)], is_error=True, meta=meta)
        content = [TextContent(text=text) for text in outcome.texts()]
        return CallToolResult(content=[*content], structured_content=msgspec.to_builtins(outcome))

    return Server(
        NAME,
        version=VERSION,
        title="Chorus",
        instructions=INSTRUCTIONS,
        get_tool_input_schema=schemas.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


@asynccontextmanager
async def http_app(toolbox: Toolbox, call_of: Callable[[Scope], Call], max_body_bytes: int) -> AsyncIterator[ASGIApp]:
    """Yield the application that answers POSTs while the block lasts. It keeps nothing between two
    requests, so that any process answers any of them. `call_of` gets the scope of a request."""
    server = make_server(toolbox, lambda context: call_of(_scope(context)))
    manager = StreamableHTTPSessionManager(
        server, stateless=True, security_settings=_UNCHECKED, max_request_body_size=max_body_bytes
    )
    # the SDK would end streams at SIGTERM; the server lets them finish
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
    async with manager.run():
        yield manager.handle_request


async def serve_stdio(toolbox: Toolbox, new_call: Callable[[], Call]) -> None:
    """Serve the client at the other end of standard input and output, until it closes the input."""
    server = make_server(toolbox, lambda context: new_call())
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _scope(context: Context) -> Scope:
    assert context.request is not None, "the manager passes the request on"
    scope: Scope = context.request.scope
    return scope


def _listed(tool: Tool[Any]) -> ListedTool:
    annotations = ToolAnnotations(
        title=tool.title,
        read_only_hint=tool.is_read_only,
        destructive_hint=tool.is_destructive,
        idempotent_hint=tool.is_idempotent,
        open_world_hint=False,
    )
    return ListedTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=annotations,
    )
