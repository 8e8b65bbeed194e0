"""A memory of somebody else: an MCP server of the SDK with `memory_get` and, if wanted, tools that
write.

As a program it speaks over its standard input and output.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from starlette.types import ASGIApp

Notes = dict[str, dict[str, str]]


def memory_server(kept: Notes, *, reads_only: bool = False, secs: float = 0) -> MCPServer:
    """A server of the notes that are `kept` by user. Each read takes `secs`."""
    server = MCPServer("memory")

    @server.tool()
    async def memory_get(user_id: str) -> dict[str, dict[str, str]]:
        await anyio.sleep(secs)
        return {"notes": kept.get(user_id, {})}

    async def memory_upsert(user_id: str, notes: dict[str, str | None]) -> dict[str, str]:
        of_user = kept.setdefault(user_id, {})
        of_user.update({key: text for key, text in notes.items() if text is not None})
        for key in [key for key, text in notes.items() if text is None]:
            of_user.pop(key, None)
        return of_user

    if not reads_only:
        server.add_tool(memory_upsert)
    return server


def text_server(said: str) -> MCPServer:
    """A server that returns the same text for every user. The header names the user."""
    server = MCPServer("memory")

    @server.tool(structured_output=False)
    async def memory_get(ctx: Context) -> str:
        assert ctx.headers is not None
        return said.replace("USER", ctx.headers.get("x-user-id", "nobody").encode("latin-1").decode())

    return server


@contextlib.contextmanager
def served(app: ASGIApp | MCPServer, port: int = 0) -> Iterator[str]:
    """Serve `app` in a thread; gives its address."""
    if isinstance(app, MCPServer):
        app = app.streamable_http_app(stateless_http=True)
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


if __name__ == "__main__":
    memory_server({"ann": {"language": "Chinese"}}).run("stdio")
