"""A client of batches, with what tests send."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import httpx

CHAT: Final = "/v1/chat/completions"
CONFIG: Final = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
{model}
[[model]]
name = "kimi"
api_base = "{base}/v1"
retries = 0
[workflow-integration]
workers = ["glm", "kimi"]
synthesizer = "glm"
"""
OVER: Final = ("completed", "failed", "expired", "cancelled")
Object = dict[str, Any]


def line(number: int, *, text: str = "How?", url: str = CHAT, **fields: Any) -> Object:
    body = {"model": "glm", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": f"id-{number}", "method": "POST", "url": url, "body": body, **fields}


def jsonl(lines: Sequence[Object | str]) -> bytes:
    return "".join((text if isinstance(text, str) else json.dumps(text)) + "\n" for text in lines).encode()


class Client:
    """A client of one server, with OpenAI's paths."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def upload(self, content: bytes) -> Object:
        form = {"file": ("in.jsonl", content)}
        response = await self.http.post("/v1/files", data={"purpose": "batch"}, files=form)
        assert response.status_code == 200, response.text
        made: Object = response.json()
        return made

    async def begin(self, lines: Sequence[Object | str], endpoint: str = CHAT, **fields: Any) -> Object:
        file = await self.upload(jsonl(lines))
        body = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h", **fields}
        response = await self.http.post("/v1/batches", json=body)
        assert response.status_code == 200, response.text
        made: Object = response.json()
        assert (made["status"], made["object"]) == ("validating", "batch")
        return made

    async def read(self, batch: Object) -> Object:
        found: Object = (await self.http.get(f"/v1/batches/{batch['id']}")).json()
        return found

    async def until(self, batch: Object, holds: Callable[[Object], bool]) -> Object:
        with anyio.fail_after(15):
            while not holds(batch := await self.read(batch)):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        return batch

    async def ended(self, batch: Object) -> Object:
        return await self.until(batch, lambda batch: batch["status"] in OVER)

    async def results(self, batch: Object, kind: str = "output") -> dict[str, Object]:
        """The lines of a file of the batch, by their custom ids."""
        if batch[f"{kind}_file_id"] is None:
            return {}
        content = await self.http.get(f"/v1/files/{batch[f'{kind}_file_id']}/content")
        assert content.status_code == 200
        lines = [json.loads(text) for text in content.text.splitlines()]
        by_id = {line["custom_id"]: line for line in lines}
        assert len(by_id) == len(lines) == batch["request_counts"]["completed" if kind == "output" else "failed"]
        return by_id
