"""Remove the prompt that a completion endpoint repeats before its text (`echo`)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from chorus.llm.base import Chunk


async def without_prompt(chunks: AsyncIterator[Chunk], prompt: str) -> AsyncIterator[Chunk]:
    """`chunks` without the `prompt` at their beginning.

    The dialect writes it again, so that one that the upstream does not repeat is there, too; log
    probabilities stay with all tokens.
    """
    expected = prompt
    async for chunk in chunks:
        if expected and chunk.text:
            if chunk.text.startswith(expected):
                chunk = msgspec.structs.replace(chunk, text=chunk.text[len(expected) :])
                expected = ""
            elif expected.startswith(chunk.text):
                expected = expected[len(chunk.text) :]
                chunk = msgspec.structs.replace(chunk, text="")
            else:
                expected = ""
        yield chunk
