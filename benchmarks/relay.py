"""The yardstick: the least that a Python gateway can be.

Forwards to `RELAY_UPSTREAM`; no checks, no trace.

RELAY_UPSTREAM=http://127.0.0.1:9000/v1 python -m benchmarks.relay PORT
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from httpx_aiohttp import AiohttpTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ.get("RELAY_UPSTREAM", "") + "/chat/completions"
HEADERS = {"content-type": "application/json", "authorization": "Bearer bench"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with httpx.AsyncClient(transport=AiohttpTransport(), timeout=60) as app.state.client:
        yield


async def chat(request: Request) -> Response:
    client: httpx.AsyncClient = request.app.state.client
    forwarded = client.build_request("POST", UPSTREAM, content=await request.body(), headers=HEADERS)
    answer = await client.send(forwarded, stream=True)
    kind = answer.headers["content-type"]
    if not kind.startswith("text/event-stream"):
        return Response(await answer.aread(), answer.status_code, media_type=kind)

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.aiter_raw():
                yield chunk
        finally:
            await answer.aclose()

    return StreamingResponse(chunks(), answer.status_code, media_type=kind)


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )
